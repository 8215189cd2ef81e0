import { NLM, type Train } from '../netlink/train.ts';
import type { NftMatch, NftRule, NftSet, NftTable } from './types.ts';

/* Messages of nf_tables, as `linux/netfilter/nf_tables.h` and `nfnetlink.h` number them. */
const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFPROTO_IPV4 = 2;
export const NETLINK_NETFILTER = 12;
/** Bytes of the fixed header before the attributes. */
export const NFGENMSG_BYTES = 4;

/** `NFT_MSG_*` with the subsystem. */
export const NFT = {
  NEWTABLE: message(0),
  GETTABLE: message(1),
  DELTABLE: message(2),
  NEWCHAIN: message(3),
  GETCHAIN: message(4),
  NEWRULE: message(6),
  GETRULE: message(7),
  NEWSET: message(9),
  GETSET: message(10),
  NEWSETELEM: message(12),
  GETSETELEM: message(13),
  NEWGEN: message(15),
} as const;

/** Attributes that are read as well as written. */
export const TABLE = { NAME: 1 } as const;
export const CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, TYPE: 7 } as const;
export const SET = { TABLE: 1, NAME: 2, FLAGS: 3, KEY_TYPE: 4, KEY_LEN: 5, ID: 10 } as const;
export const ELEMENTS = { TABLE: 1, SET: 2, LIST: 3 } as const;
export const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;
const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
const LIST_ELEM = 1;
const ELEM = { KEY: 1, FLAGS: 3 } as const;
const DATA_VALUE = 1;
const EXPR = { NAME: 1, DATA: 2 } as const;

const SET_INTERVAL = 0x4;
const ELEM_INTERVAL_END = 0x1;
/** nft's numbers of data types, by which it shows elements. */
const TYPE_IPADDR = 7;
const TYPE_IFNAME = 41;
const IFNAME_BYTES = 16;
const IPV4_BYTES = 4;

const POSTROUTING = 4;
const SOURCE_NAT_PRIORITY = 100;

const REGISTER = 1;
const NETWORK_HEADER = 1;
const HEADER_OFFSET = { sourceIpv4: 12, destinationIpv4: 16 } as const;
const META_OIFNAME = 7;
const LOOKUP_INVERTED = 1;
const RANDOM_FULLY = 0x10;

/** The kernel takes no more than 64 KiB of elements in one message. */
const ELEMENTS_AT_ONCE = 1000;

function message(number: number): number {
  return (NFNL_SUBSYS_NFTABLES << 8) | number;
}

/** `struct nfgenmsg` of family `ip`. */
const HEADER = Uint8Array.of(NFPROTO_IPV4, 0, 0, 0);

/** Lists of one kind; `narrow` adds attributes that the kernel filters by. */
export function encodeDump(train: Train, type: number, narrow: (train: Train) => void = () => {}): void {
  train.message(type, NLM.DUMP, HEADER);
  narrow(train);
}

/**
 * One transaction, all of it or nothing, which no packet sees half done: the table as it is wanted in place of what
 * has its name. Flows keep the translation they have. One request: only its last message is acknowledged, and any
 * that is refused answers for all.
 */
export function encodeReplace(train: Train, table: NftTable): void {
  begin(train);
  const put = (type: number, flags: number): Train => train.further(type, NLM.CREATE | flags, HEADER);
  // Deleting what is not there would be refused.
  put(NFT.NEWTABLE, 0).attrString(TABLE.NAME, table.name);
  train.further(NFT.DELTABLE, 0, HEADER).attrString(TABLE.NAME, table.name);
  put(NFT.NEWTABLE, 0).attrString(TABLE.NAME, table.name);
  table.sets.forEach((set, index) => {
    putSet(put(NFT.NEWSET, NLM.EXCL), table.name, set, index + 1);
    for (const elements of elementsOf(set)) {
      put(NFT.NEWSETELEM, NLM.EXCL).attrString(ELEMENTS.TABLE, table.name).attrString(ELEMENTS.SET, set.name);
      train.nest(ELEMENTS.LIST);
      for (const element of elements) putElement(train, element);
      train.end();
    }
  });
  put(NFT.NEWCHAIN, NLM.EXCL)
    .attrString(CHAIN.TABLE, table.name)
    .attrString(CHAIN.NAME, table.chain.name)
    .nest(CHAIN.HOOK)
    .attrU32BE(HOOK.NUMBER, POSTROUTING)
    .attrU32BE(HOOK.PRIORITY, SOURCE_NAT_PRIORITY)
    .end()
    .attrString(CHAIN.TYPE, 'nat');
  for (const rule of table.chain.rules) putRule(put(NFT.NEWRULE, 0x800), table, rule);
  // Of the whole: an acknowledgement for what everybody may do.
  put(NFT.NEWTABLE, NLM.ACK).attrString(TABLE.NAME, table.name);
  end(train);
}

/** @throws by its reply: ENOENT when it is not there */
export function encodeDelete(train: Train, name: string): void {
  begin(train);
  train.further(NFT.DELTABLE, NLM.ACK, HEADER).attrString(TABLE.NAME, name);
  end(train);
}

const BATCH_HEADER = Uint8Array.of(0, 0, 0, NFNL_SUBSYS_NFTABLES);

function begin(train: Train): void {
  train.message(NFNL_MSG_BATCH_BEGIN, 0, BATCH_HEADER);
}

function end(train: Train): void {
  train.further(NFNL_MSG_BATCH_END, 0, BATCH_HEADER);
}

function putSet(train: Train, table: string, set: NftSet, id: number): void {
  const ranges = set.kind === 'ipv4Ranges';
  train
    .attrString(SET.TABLE, table)
    .attrString(SET.NAME, set.name)
    .attrU32BE(SET.FLAGS, ranges ? SET_INTERVAL : 0)
    .attrU32BE(SET.KEY_TYPE, ranges ? TYPE_IPADDR : TYPE_IFNAME)
    .attrU32BE(SET.KEY_LEN, ranges ? IPV4_BYTES : IFNAME_BYTES)
    .attrU32BE(SET.ID, id);
}

interface Element {
  key: Uint8Array;
  end?: boolean;
}

/** A range is its first address and, as an end, the one behind its last; behind the last of all there is none. */
function elementsOf(set: NftSet): Element[][] {
  const all: Element[] =
    set.kind === 'interfaces'
      ? set.elements.map(name => {
          const key = Buffer.alloc(IFNAME_BYTES);
          key.write(name);
          return { key };
        })
      : set.elements.flatMap(([first, last]) => [
          { key: ipv4Key(first) },
          ...(last === 0xffff_ffff ? [] : [{ key: ipv4Key(last + 1), end: true }]),
        ]);
  const pieces: Element[][] = [];
  for (let i = 0; i < all.length; i += ELEMENTS_AT_ONCE) pieces.push(all.slice(i, i + ELEMENTS_AT_ONCE));
  return pieces;
}

function ipv4Key(address: number): Buffer {
  const key = Buffer.alloc(IPV4_BYTES);
  key.writeUInt32BE(address);
  return key;
}

function putElement(train: Train, { key, end: isEnd }: Element): void {
  train.nest(LIST_ELEM).nest(ELEM.KEY).attr(DATA_VALUE, key).end();
  if (isEnd) train.attrU32BE(ELEM.FLAGS, ELEM_INTERVAL_END);
  train.end();
}

function putRule(train: Train, table: NftTable, rule: NftRule): void {
  train.attrString(RULE.TABLE, table.name).attrString(RULE.CHAIN, table.chain.name).nest(RULE.EXPRESSIONS);
  for (const match of rule.matches) putMatch(train, match);
  putExpression(train, 'masq', () => train.attrU32BE(1 /* NFTA_MASQ_FLAGS */, RANDOM_FULLY));
  train.end();
}

function putMatch(train: Train, match: NftMatch): void {
  if (match.field === 'outputInterface')
    putExpression(train, 'meta', () =>
      train.attrU32BE(1 /* NFTA_META_DREG */, REGISTER).attrU32BE(2 /* NFTA_META_KEY */, META_OIFNAME),
    );
  else
    putExpression(train, 'payload', () =>
      train
        .attrU32BE(1 /* NFTA_PAYLOAD_DREG */, REGISTER)
        .attrU32BE(2 /* NFTA_PAYLOAD_BASE */, NETWORK_HEADER)
        .attrU32BE(3 /* NFTA_PAYLOAD_OFFSET */, HEADER_OFFSET[match.field])
        .attrU32BE(4 /* NFTA_PAYLOAD_LEN */, IPV4_BYTES),
    );
  putExpression(train, 'lookup', () => {
    train.attrString(1 /* NFTA_LOOKUP_SET */, match.set).attrU32BE(2 /* NFTA_LOOKUP_SREG */, REGISTER);
    if (match.not) train.attrU32BE(5 /* NFTA_LOOKUP_FLAGS */, LOOKUP_INVERTED);
  });
}

function putExpression(train: Train, name: string, data: () => void): void {
  train.nest(LIST_ELEM).attrString(EXPR.NAME, name).nest(EXPR.DATA);
  data();
  train.end().end();
}
