import type { CheckResult, ConnectivityReport, Mode, ModeReport } from '../../connectivity/types.ts';
import { table } from './tabwriter.ts';

/** The columns, as src/connectivity/types.ts has the kinds; the command line loads none of that before it knows the command. */
const KINDS: readonly CheckResult['kind'][] = ['ping', 'tcp', 'udp', 'mtu', 'transfer'];

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

/** `2/2`, or `1/2 FAILED`; `-` for what was not tried. */
function cell(results: readonly CheckResult[]): string {
  if (results.length === 0) return '-';
  const ok = results.filter(result => result.ok).length;
  return `${ok}/${results.length}${ok === results.length ? '' : ' FAILED'}`;
}

/** One mode: a row per scenario, a column per kind of probe. */
function modeTable({ results, untested }: ModeReport): string[][] {
  const rows = unique(results.map(({ scenario }) => scenario)).map(scenario => {
    const of = results.filter(result => result.scenario === scenario);
    return [scenario, ...KINDS.map(kind => cell(of.filter(result => result.kind === kind)))];
  });
  return [
    ['FROM-TO', ...KINDS.map(kind => kind.toUpperCase())],
    ...rows,
    ...untested.map(({ scenario, why }) => [scenario, `not tried: ${why}`]),
  ];
}

/** Many modes: a row per scenario, a column per mode. */
function modesTable(modes: readonly ModeReport[]): string[][] {
  const scenarios = unique(modes.flatMap(({ results }) => results.map(({ scenario }) => scenario)));
  const head = (pick: (mode: Mode) => string): string[] => modes.map(({ mode }) => pick(mode));
  return [
    ['ROUTING', ...head(({ routing }) => (routing === 'native' ? 'native' : 'VXLAN'))],
    ['ENDPOINT ROUTES', ...head(({ endpointRoutes }) => (endpointRoutes ? 'on' : 'off'))],
    ['HOST ROUTING', ...head(({ hostRouting }) => hostRouting)],
    ...scenarios.map(scenario => [
      scenario,
      ...modes.map(({ results }) => cell(results.filter(result => result.scenario === scenario))),
    ]),
  ];
}

/** A line per way that failed: what did, and the first reason, since the others mostly follow from it. */
function failures(results: readonly CheckResult[]): string[] {
  const bad = results.filter(({ ok }) => !ok);
  return unique(bad.map(({ from, to }) => `from ${from} to ${to}`)).map(way => {
    const of = bad.filter(({ from, to }) => `from ${from} to ${to}` === way);
    return `${way}: ${of.map(({ kind }) => kind).join(', ')}: ${of[0]?.detail}`;
  });
}

/** What `connectivity test` prints: one table, what failed and how, and the sum. Pure. */
export function formatConnectivity(report: ConnectivityReport): string {
  const { modes, nodes } = report;
  const [only] = modes;
  const all = modes.flatMap(({ results }) => results);
  const failed = modes.flatMap(({ mode, results }) => {
    const where = modes.length > 1 ? ` (${mode.text})` : '';
    return failures(results).map(line => `FAILED ${line}${where}\n`);
  });
  const mtus = unique(all.filter(({ kind, ok }) => kind === 'mtu' && ok).map(({ detail }) => detail));
  return [
    `Nodes: ${nodes.join(', ')}\n`,
    modes.length === 1 && only ? `Mode:  ${only.mode.text}\n\n` : '\n',
    table(modes.length === 1 && only ? modeTable(only) : modesTable(modes)),
    '\n',
    ...failed,
    mtus.length > 0 ? `Largest packets that pass whole: ${mtus.join(', ')}\n` : '',
    report.ok
      ? `All ${all.length} checks passed\n`
      : `${all.filter(({ ok }) => ok).length} of ${all.length} checks passed\n`,
  ].join('');
}
