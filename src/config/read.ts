import { formatIpv4Cidr, parseIpv4Cidr } from '../base/addr.ts';
import { FimbriaError } from '../base/errors.ts';
import { badValue, type Place } from './place.ts';
import { poolText, readPools } from './pools.ts';
import type { Setting, SettingValue } from './settings.ts';

export { badValue, type Place } from './place.ts';

function show(value: unknown): string {
  return typeof value === 'string' ? (value === '' ? '""' : value) : JSON.stringify(value);
}

/** A scalar is a list of one. Flat texts are split at blanks and commas by the caller. */
function listOf(place: Place, raw: unknown): string[] {
  const items = Array.isArray(raw) ? raw : raw === '' ? [] : [raw];
  return items.map(item => {
    if (typeof item !== 'string') throw badValue(place, `${show(item)} is not a text`);
    return item;
  });
}

function range(place: Place, text: unknown): string {
  if (typeof text !== 'string')
    throw badValue(place, `${show(text)} is not a range`, 'write it like 10.0.0.0/16');
  try {
    return formatIpv4Cidr(parseIpv4Cidr(text));
  } catch (error) {
    if (!(error instanceof FimbriaError)) throw error;
    throw badValue(place, `${show(text)} is not an IPv4 range: ${error.why}`, error.hint);
  }
}

/** Numbers by name: Helm's text `a=8,b=16`, or a table. */
function readAmounts(raw: unknown, place: Place): string {
  const entries =
    typeof raw === 'object' && raw !== null && !Array.isArray(raw)
      ? Object.entries(raw).map(([name, amount]) => `${name}=${amount}`)
      : String(raw)
          .split(/[\s,]+/)
          .filter(item => item !== '');
  const wrong = entries.find(item => !/^[a-z0-9][-a-z0-9.]*=\d{1,9}$/.test(item));
  if (wrong !== undefined)
    throw badValue(place, `${show(wrong)} is not POOL=NUMBER`, 'write it like default=8,mars=16');
  return entries.sort().join(',');
}

function oneOf(values: readonly string[]): string {
  return values.length === 1 ? `use ${values[0]}` : `use one of ${values.join(', ')}`;
}

/** Reads one value of a row. Throws BAD_VALUES that names the place. Pure. */
export function readValue(row: Setting, raw: unknown, place: Place): SettingValue {
  if (row.status === 'not-yet' && !row.off!.includes(raw)) {
    const rest =
      row.off!.length === 0
        ? 'leave it out'
        : `leave it out or use ${row.off!.filter(o => typeof o !== 'string' || row.type.kind === 'choice').join(' or ')}`;
    throw badValue(place, `${show(raw)} is not built yet`, rest);
  }
  const type = row.type;
  switch (type.kind) {
    case 'boolean':
      if (raw === true || raw === 'true') return true;
      if (raw === false || raw === 'false') return false;
      throw badValue(place, `${show(raw)} is neither true nor false`);
    case 'integer': {
      const number = typeof raw === 'string' && /^[0-9]{1,9}$/.test(raw) ? Number(raw) : raw;
      if (
        typeof number === 'number' &&
        Number.isInteger(number) &&
        number >= type.min &&
        number <= type.max
      ) {
        return number;
      }
      throw badValue(place, `${show(raw)} is not a number of ${type.min} to ${type.max}`);
    }
    case 'choice':
      if (typeof raw === 'string' && type.values.includes(raw)) return raw;
      if (typeof raw === 'string' && type.later?.includes(raw)) {
        throw badValue(place, `${raw} is not built yet`, oneOf(type.values));
      }
      throw badValue(place, `${show(raw)} is not known`, oneOf(type.values));
    case 'text':
      if (typeof raw === 'string' && (type.pattern?.test(raw) ?? true)) return raw;
      throw badValue(place, `${show(raw)} is not ${type.meaning ?? 'a text'}`);
    case 'ipv4Range':
      return range(place, raw);
    case 'ipv4Ranges':
      return listOf(place, raw).map(item => range(place, item));
    case 'texts':
      return listOf(place, raw).map(item => {
        if (type.pattern.test(item)) return item;
        throw badValue(place, `${show(item)} is not ${type.meaning}`);
      });
    case 'pools':
      return readPools(raw, place).map(poolText);
    case 'amounts':
      return readAmounts(raw, place);
    case 'any':
      // Such rows take no value at all yet, so the check above has thrown.
      throw badValue(place, `${show(raw)} is not built yet`, 'leave it out');
  }
}

/** The text of a value in a ConfigMap. Lists are joined by blanks, as Cilium writes pod ranges. */
export function flatText(value: SettingValue): string {
  return typeof value === 'object' ? value.join(' ') : String(value);
}
