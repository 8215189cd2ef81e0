import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { FimbriaError, messageOf } from '../../base/errors.ts';
import type { Kind } from '../../model/kinds.ts';
import type { AnyObject } from '../../model/meta.ts';
import { kindOfObject } from './kinds.ts';

/** One object of a manifest with its kind and, for messages, where it stands. */
export interface ManifestObject {
  object: AnyObject;
  kind: Kind;
  where: string;
}

function invalid(where: string, why: string, hint?: string): FimbriaError {
  return new FimbriaError({ code: 'INVALID', op: 'read', object: where, why, ...(hint && { hint }) });
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function checkObject(value: unknown, where: string): ManifestObject {
  if (!isRecord(value)) throw invalid(where, 'it is not an object');
  for (const field of ['apiVersion', 'kind']) {
    if (typeof value[field] !== 'string') throw invalid(where, `${field} is missing`);
  }
  if (!isRecord(value['metadata'])) throw invalid(where, 'metadata is missing');
  const object = value as AnyObject;
  return { object, kind: kindOfObject(object, where), where };
}

/**
 * All objects of a YAML or JSON text, Lists taken apart, empty documents skipped. Pure.
 * @throws FimbriaError INVALID that names the document
 */
export function parseManifest(text: string, source: string): ManifestObject[] {
  return parseAllDocuments(text).flatMap((document, index) => {
    const where = `${source} document ${index + 1}`;
    const [error] = document.errors;
    if (error) throw invalid(where, error.message.split('\n')[0] ?? 'it is not YAML');
    const value: unknown = document.toJS();
    if (value === null || value === undefined) return [];
    if (isRecord(value) && typeof value['kind'] === 'string' && /List$/.test(value['kind'])) {
      const items = Array.isArray(value['items']) ? value['items'] : [];
      return items.map((item, at) => checkObject(item, `${where} item ${at + 1}`));
    }
    return [checkObject(value, where)];
  });
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** The objects of files, of all YAML and JSON files of directories, and of standard input (`-`), in order. */
export async function readManifests(paths: string[]): Promise<ManifestObject[]> {
  const objects: ManifestObject[] = [];
  for (const path of paths) {
    if (path === '-') {
      objects.push(...parseManifest(await readStandardInput(), 'standard input'));
      continue;
    }
    try {
      const files = statSync(path).isDirectory()
        ? readdirSync(path)
            .filter(name => /\.(ya?ml|json)$/.test(name))
            .toSorted()
            .map(name => join(path, name))
        : [path];
      for (const file of files) objects.push(...parseManifest(readFileSync(file, 'utf8'), file));
    } catch (error) {
      if (error instanceof FimbriaError) throw error;
      throw invalid(path, messageOf(error));
    }
  }
  if (objects.length === 0) throw invalid(paths.join(', '), 'there is no object in it');
  return objects;
}
