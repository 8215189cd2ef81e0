import { checkCombinations } from './check.ts';
import { deploymentByPath } from './deployment.ts';
import { withoutMeaning } from './flat.ts';
import { meaninglessPaths } from './meaningless.ts';
import { badValue, flatText, type Place, readValue } from './read.ts';
import { type Setting, type SettingValue, settingByFlat, settingByPath, settings } from './settings.ts';
import { isTree, type Values } from './tree.ts';
import type { IpamMode } from './types.ts';

const at = (path: string): Place => ({ source: 'values', key: path });

/** Paths that are no values themselves but have some below them. */
function parentsOf(paths: Iterable<string>): ReadonlySet<string> {
  const parents = new Set<string>();
  for (const path of paths) {
    for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1))
      parents.add(path.slice(0, dot));
  }
  return parents;
}

const inner = parentsOf([...settingByPath.keys(), ...deploymentByPath.keys(), ...meaninglessPaths]);

/** Edit distance, for suggestions. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The known key nearest to a mistyped one, when it is near. */
function suggestion(path: string): string | undefined {
  const lower = path.toLowerCase();
  let best: { path: string; score: number } | undefined;
  for (const known of [...settings.map(row => row.path), ...deploymentByPath.keys(), ...inner]) {
    const score = distance(lower, known.toLowerCase());
    if (best === undefined || score < best.score) best = { path: known, score };
  }
  return best !== undefined && best.score <= Math.max(2, path.length / 5) ? best.path : undefined;
}

/** Walks the tree and hands every written value that has a row to `found`; refuses what nobody knows. */
function walk(
  tree: Values,
  prefix: string,
  covered: boolean,
  deployed: boolean,
  found: (row: Setting, raw: unknown) => void,
  meaningless: (path: string) => void,
): void {
  for (const [key, raw] of Object.entries(tree)) {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    const row = settingByPath.get(path);
    const known = covered || meaninglessPaths.has(path);
    if (row !== undefined) found(row, raw);
    else if (deploymentByPath.has(path)) {
      if (!deployed && !deploymentByPath.get(path)!.lab) meaningless(path);
    } else if (inner.has(path)) {
      if (raw === null || raw === undefined) continue;
      if (!isTree(raw)) throw badValue(at(path), `${JSON.stringify(raw)} is not a table of values`);
      walk(raw, path, known, deployed, found, meaningless);
    } else if (known) meaningless(path);
    else {
      const near = suggestion(path);
      throw badValue(at(path), 'unknown key', near === undefined ? undefined : `did you mean ${near}?`);
    }
  }
}

/**
 * Checks Helm values and turns them into the flat keys of the ConfigMap, defaults filled in. Pure.
 * Throws BAD_VALUES, with the path, for unknown keys, bad values, combinations that cannot work and features that
 * are not built yet; warns about keys of Cilium that mean nothing here.
 * @param options.deployed values of a deployment on Kubernetes mean something: see `deploymentValues`
 */
export function valuesToFlat(
  values: Values,
  options: { deployed?: boolean } = {},
): { flat: Record<string, string>; warnings: string[] } {
  const written = new Map<Setting, unknown>();
  const warnings: string[] = [];
  walk(
    values,
    '',
    false,
    options.deployed ?? false,
    (row, raw) => written.set(row, raw),
    path => warnings.push(`values: ${path}: means nothing here and is ignored`),
  );
  const resolved = new Map<string, SettingValue>();
  for (const row of settings) {
    const raw = written.get(row);
    if (raw !== undefined && raw !== null) resolved.set(row.path, readValue(row, raw, at(row.path)));
    else if (row.default !== undefined) resolved.set(row.path, row.default);
  }
  if (resolved.get('prometheus.enabled') === true && !resolved.has('prometheus.serveAddr'))
    resolved.set('prometheus.serveAddr', `:${resolved.get('prometheus.port')}`);
  warnings.push(...checkCombinations(resolved, at));
  const flat: Record<string, string> = {};
  for (const row of settings) {
    const value = resolved.get(row.path);
    const text = value === undefined ? '' : flatText(value);
    if (row.flat !== undefined && text !== '') flat[row.flat] = text;
  }
  for (const key of withoutMeaning(resolved.get('ipam.mode') as IpamMode)) {
    delete flat[key];
    const row = settingByFlat.get(key);
    if (row !== undefined && written.has(row))
      warnings.push(`values: ${row.path}: has no effect in ${resolved.get('ipam.mode')} mode`);
  }
  return { flat, warnings };
}
