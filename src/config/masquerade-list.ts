import { parse } from 'yaml';
import { formatIpv4Cidr, parseIpv4Cidr } from '../base/addr.ts';
import { FimbriaError, messageOf } from '../base/errors.ts';
import { isTree } from './tree.ts';

/** What nobody routes to from outside, unless told otherwise: the list of Kubernetes' ip-masq-agent. */
const USUAL = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '240.0.0.0/4',
];
const LINK_LOCAL = '169.254.0.0/16';
const KEYS = ['nonMasqueradeCIDRs', 'masqLinkLocal', 'masqLinkLocalIPv6'];

function bad(key: string, why: string, hint?: string): FimbriaError {
  return new FimbriaError({
    code: 'BAD_VALUES',
    op: 'read',
    object: 'ip-masq-agent configuration',
    why: `${key}: ${why}`,
    ...(hint === undefined ? {} : { hint }),
  });
}

/**
 * Destinations that pods reach with their own address, as ip-masq-agent's file has them (YAML or JSON with
 * `nonMasqueradeCIDRs` and `masqLinkLocal`); the usual ones where it says nothing. IPv4, canonical, in order; ranges of
 * IPv6 are passed over. Pure. @throws FimbriaError BAD_VALUES with the key
 */
export function nonMasqueradeCidrs(text: string | undefined): string[] {
  let config: unknown;
  try {
    config = parse(text ?? '', { logLevel: 'error' });
  } catch (error) {
    throw bad('file', `it is no YAML: ${messageOf(error).split('\n')[0]}`);
  }
  return nonMasqueradeCidrsOf(config);
}

/** The same of what was parsed already. */
export function nonMasqueradeCidrsOf(config: unknown): string[] {
  const table = config ?? {};
  if (!isTree(table)) throw bad('file', 'it is no table', `write ${KEYS[0]}: [10.0.0.0/8]`);
  const unknown = Object.keys(table).find(key => !KEYS.includes(key) && key !== 'resyncInterval');
  if (unknown !== undefined) throw bad(unknown, 'unknown key', `use ${KEYS.join(', ')}`);
  const { masqLinkLocal = false, nonMasqueradeCIDRs } = table;
  if (typeof masqLinkLocal !== 'boolean') throw bad('masqLinkLocal', 'it is neither true nor false');
  const given = nonMasqueradeCIDRs ?? USUAL;
  if (!Array.isArray(given)) throw bad('nonMasqueradeCIDRs', 'it is no list of ranges');
  const cidrs = given
    .filter(item => !(typeof item === 'string' && item.includes(':')))
    .map(item => {
      try {
        return formatIpv4Cidr(parseIpv4Cidr(String(item)));
      } catch (error) {
        throw bad('nonMasqueradeCIDRs', messageOf(error));
      }
    });
  return [...new Set([...cidrs, ...(masqLinkLocal ? [] : [LINK_LOCAL])])].sort();
}
