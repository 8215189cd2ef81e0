import { FimbriaError } from '../../base/errors.ts';

const UNIT_MS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration such as `60s`, `1m30s`, `500ms` or plain seconds. Throws INVALID otherwise. */
export function parseDuration(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(part => part[0]).join('') !== text) {
    throw new FimbriaError({
      code: 'USAGE',
      op: 'read duration',
      object: `'${text}'`,
      why: 'it is none',
      hint: 'write it like 60s, 1m30s or 500ms',
    });
  }
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (UNIT_MS[unit ?? ''] ?? 0), 0);
}

/** A duration of whole nanoseconds as Go prints it: `451.197µs`, `1m40s`, `2h0m3s`. Pure. */
export function goDuration(nanoseconds: number): string {
  const ns = Math.abs(Math.round(nanoseconds));
  const sign = nanoseconds < 0 ? '-' : '';
  if (ns === 0) return '0s';
  if (ns < 1e3) return `${sign}${ns}ns`;
  if (ns < 1e6) return `${sign}${decimals(ns, 1e3)}µs`;
  if (ns < 1e9) return `${sign}${decimals(ns, 1e6)}ms`;
  const hours = Math.floor(ns / 3.6e12);
  const minutes = Math.floor((ns % 3.6e12) / 6e10);
  const seconds = decimals(ns % 6e10, 1e9);
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}

function decimals(ns: number, unit: number): string {
  const fraction = String(ns % unit)
    .padStart(Math.log10(unit), '0')
    .replace(/0+$/, '');
  return fraction === '' ? String(Math.floor(ns / unit)) : `${Math.floor(ns / unit)}.${fraction}`;
}

/** `1m40s ago`, whole seconds, or `never` for Go's zero time and for no time. Pure. */
export function timeSince(timestamp: string | undefined, now: number): string {
  if (timestamp === undefined || timestamp.startsWith('0001-')) return 'never';
  const seconds = Math.max(0, Math.floor((now - Date.parse(timestamp)) / 1000));
  return `${goDuration(seconds * 1e9)} ago`;
}
