import { createHash } from 'node:crypto';
import { KINDS, type Kind } from '../../model/kinds.ts';
import { isReadOnly } from '../discovery.ts';
import { noSuchResource } from '../failure.ts';
import { patchTypesOf } from '../patch/apply.ts';
import { definitionName, definitions, groupVersionKind, type Schema } from './definitions.ts';
import { encodeSwagger } from './swagger-protobuf.ts';

/**
 * OpenAPI as far as kubectl reads it: which kinds there are, what fields they have, how lists merge, and which
 * parameters a write understands. Documents never change while a server runs, so each is made once.
 */

const INFO = { title: 'Kubernetes', version: 'v1.30.0' };
const PARAMETERS = ['dryRun', 'fieldManager', 'fieldValidation'];

/** `GET /openapi/v2` as JSON. */
export const swagger = once((): Schema => {
  const paths: Schema = {};
  for (const { kind, version, path } of writablePaths()) {
    const parameters = PARAMETERS.map(name => ({ name, in: 'query', type: 'string' }));
    paths[path] = {
      patch: operation(kind, version, { parameters, responses: { 200: { description: 'OK' } } }),
    };
  }
  return { swagger: '2.0', info: INFO, paths, definitions: definitions('#/definitions/') };
});

/** `GET /openapi/v2` in the encoding that kubectl asks for. */
export const swaggerProtobuf = once((): Buffer => encodeSwagger(swagger()));

/** `GET /openapi/v3`: where the document of each group and version is. */
export const index = once((): Schema => {
  const paths: Schema = {};
  for (const [key, text] of documents()) {
    const hash = createHash('sha256').update(text).digest('hex').slice(0, 32).toUpperCase();
    paths[key] = { serverRelativeURL: `/openapi/v3/${key}?hash=${hash}` };
  }
  return { paths };
});

/** `GET /openapi/v3/apis/GROUP/VERSION` as JSON text. @throws ApiFailure 404 */
export function groupDocument(key: string): string {
  const text = documents().get(key);
  if (text === undefined) throw noSuchResource();
  return text;
}

const documents = once((): Map<string, string> => {
  const result = new Map<string, string>();
  for (const kind of KINDS) {
    for (const version of kind.versions) {
      const key = kind.group === '' ? `api/${version}` : `apis/${kind.group}/${version}`;
      if (!result.has(key)) result.set(key, JSON.stringify(documentOf(kind.group, version)));
    }
  }
  return result;
});

function documentOf(group: string, version: string): Schema {
  const prefix = '#/components/schemas/';
  const paths: Schema = {};
  for (const { kind, version: served, path } of writablePaths()) {
    if (kind.group !== group || served !== version) continue;
    const schema = { $ref: prefix + definitionName(kind, version) };
    const parameters = PARAMETERS.map(name => ({ name, in: 'query', schema: { type: 'string' } }));
    const content = Object.fromEntries(
      patchTypesOf(kind).map(type => [type, { schema: { type: 'object' } }]),
    );
    const responses = { 200: { description: 'OK', content: { 'application/json': { schema } } } };
    paths[path] = { patch: operation(kind, version, { parameters, requestBody: { content }, responses }) };
  }
  return {
    openapi: '3.0.0',
    info: INFO,
    paths,
    components: { schemas: definitions(prefix, { group, version }) },
  };
}

function writablePaths(): { kind: Kind; version: string; path: string }[] {
  return KINDS.filter(kind => !isReadOnly(kind)).flatMap(kind =>
    kind.versions.map(version => {
      const root = kind.group === '' ? `/api/${version}` : `/apis/${kind.group}/${version}`;
      const within = kind.namespaced ? '/namespaces/{namespace}' : '';
      return { kind, version, path: `${root}${within}/${kind.plural}/{name}` };
    }),
  );
}

function operation(kind: Kind, version: string, fields: Schema): Schema {
  return {
    ...fields,
    'x-kubernetes-action': 'patch',
    'x-kubernetes-group-version-kind': groupVersionKind(kind, version),
  };
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
