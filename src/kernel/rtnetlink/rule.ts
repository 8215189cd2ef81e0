import { attributes, type NetlinkMessage, text } from '../netlink/parse.ts';
import { NLM, type Train } from '../netlink/train.ts';
import { AF_INET, AF_INET6, addressText, protocolNumber, protocolText } from './codec.ts';
import { parseDestination } from './route.ts';
import type { Rule } from './types.ts';

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  PRIORITY: 6,
  FWMARK: 10,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  PROTOCOL: 21,
} as const;
const FR_ACT_TO_TBL = 1;
const RULE_BYTES = 12;

/** @param family kernel number */
export function encodeRuleDump(train: Train, family: number): void {
  const header = Buffer.alloc(RULE_BYTES);
  header[0] = family;
  train.message(RTM_GETRULE, NLM.DUMP, header);
}

function encode(train: Train, type: number, flags: number, rule: Rule): void {
  const src = rule.src === undefined ? undefined : parseDestination(rule.src);
  const dst = rule.dst === undefined ? undefined : parseDestination(rule.dst);
  const header = Buffer.alloc(RULE_BYTES);
  header[0] = rule.family === 4 ? AF_INET : AF_INET6;
  header[1] = dst?.prefixLength ?? 0;
  header[2] = src?.prefixLength ?? 0;
  header[7] = FR_ACT_TO_TBL;
  train.message(type, flags, header).attrU32(FRA.PRIORITY, rule.priority).attrU32(FRA.TABLE, rule.table);
  if (dst !== undefined) train.attr(FRA.DST, dst.bytes);
  if (src !== undefined) train.attr(FRA.SRC, src.bytes);
  if (rule.iifName !== undefined) train.attrString(FRA.IIFNAME, rule.iifName);
  if (rule.oifName !== undefined) train.attrString(FRA.OIFNAME, rule.oifName);
  if (rule.fwmark !== undefined) train.attrU32(FRA.FWMARK, rule.fwmark);
  if (rule.fwmask !== undefined) train.attrU32(FRA.FWMASK, rule.fwmask);
  train.attrU8(FRA.PROTOCOL, protocolNumber(rule.protocol));
}

export function encodeRuleAdd(train: Train, rule: Rule): void {
  encode(train, RTM_NEWRULE, NLM.ACK | NLM.CREATE | NLM.EXCL, rule);
}

export function encodeRuleDelete(train: Train, rule: Rule): void {
  encode(train, RTM_DELRULE, NLM.ACK, rule);
}

/** Reads an RTM_NEWRULE message. */
export function decodeRule(message: NetlinkMessage): Rule {
  const { body } = message;
  const attrs = attributes(body, RULE_BYTES);
  const rule: Rule = {
    family: body[0] === AF_INET6 ? 6 : 4,
    priority: attrs.get(FRA.PRIORITY)?.readUInt32LE(0) ?? 0,
    table: body[7] === FR_ACT_TO_TBL ? (attrs.get(FRA.TABLE)?.readUInt32LE(0) ?? body[4]!) : 0,
    protocol: protocolText(attrs.get(FRA.PROTOCOL)?.[0] ?? 0),
  };
  const src = attrs.get(FRA.SRC);
  if (src !== undefined) rule.src = `${addressText(src)}/${body[2]}`;
  const dst = attrs.get(FRA.DST);
  if (dst !== undefined) rule.dst = `${addressText(dst)}/${body[1]}`;
  const iifName = attrs.get(FRA.IIFNAME);
  if (iifName !== undefined) rule.iifName = text(iifName);
  const oifName = attrs.get(FRA.OIFNAME);
  if (oifName !== undefined) rule.oifName = text(oifName);
  const fwmark = attrs.get(FRA.FWMARK);
  if (fwmark !== undefined) rule.fwmark = fwmark.readUInt32LE(0);
  const fwmask = attrs.get(FRA.FWMASK);
  if (fwmask !== undefined) rule.fwmask = fwmask.readUInt32LE(0);
  return rule;
}
