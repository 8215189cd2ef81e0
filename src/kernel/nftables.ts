import { createHash } from 'node:crypto';
import { codeOf, FimbriaError } from '../base/errors.ts';
import type { NetnsRef } from './addon.ts';
import { attributes, text } from './netlink/parse.ts';
import { NetlinkSocket, refused } from './netlink/socket.ts';
import type { Train } from './netlink/train.ts';
import {
  CHAIN,
  ELEMENTS,
  encodeDelete,
  encodeDump,
  encodeReplace,
  NETLINK_NETFILTER,
  NFGENMSG_BYTES,
  NFT,
  RULE,
  SET,
  TABLE,
} from './nftables/encode.ts';
import type { NftTable } from './nftables/types.ts';

export { NftablesMonitor, type NftChange } from './nftables/monitor.ts';
export type * from './nftables/types.ts';

const ENOENT = 2;
/** What a kernel without nf_tables, or without one of its parts, says: the family, the subsystem, an expression. */
const UNBUILT = ['EPROTONOSUPPORT', 'EOPNOTSUPP', 'ENOTSUP', 'ENOENT'];

/**
 * Tables of nf_tables (family `ip`) of one network namespace, spoken to the kernel directly. Requests of one instance
 * are answered in order. Errors are FimbriaErrors with the errno's name, or NO_NFTABLES where the kernel cannot.
 */
export class Nftables {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** @throws FimbriaError NO_NFTABLES where the kernel has no netfilter */
  static open(options: { netns?: NetnsRef } = {}): Nftables {
    try {
      return new Nftables(NetlinkSocket.open(options.netns, NETLINK_NETFILTER));
    } catch (error) {
      throw unbuilt(error);
    }
  }

  /** Number of its socket: changes that it made are told with it. 0 before its first answer. */
  get port(): number {
    return this.#socket.port;
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * Puts a table in place of what has its name, in one step: every packet meets the old rules or the new ones. Flows
   * keep the translation that they have.
   */
  async replace(table: NftTable): Promise<void> {
    try {
      await this.#one(train => encodeReplace(train, table), 'replace', table.name);
    } catch (error) {
      throw unbuilt(error);
    }
  }

  /** Deletes a table and all in it. False when there was none. */
  async delete(name: string): Promise<boolean> {
    const [reply] = await this.#socket.transact([train => encodeDelete(train, name)]);
    if (reply!.errno === ENOENT) return false;
    if (reply!.errno !== 0) throw refused(reply!, { op: 'delete', object: objectOf(name) });
    return true;
  }

  /** Names of all tables. Empty where the kernel has none to list. */
  async tables(): Promise<string[]> {
    try {
      return (await this.#dump(NFT.GETTABLE)).map(body => text(attributes(body, 0).get(TABLE.NAME)!));
    } catch (error) {
      if (codeOf(unbuilt(error)) === 'NO_NFTABLES') return [];
      throw error;
    }
  }

  /**
   * A text that is equal for as long as nobody has changed anything of the table: sets, their elements, chains, rules;
   * undefined when it is not there. Not comparable across two `replace`.
   */
  async fingerprint(name: string): Promise<string | undefined> {
    if (!(await this.tables()).includes(name)) return undefined;
    const hash = createHash('sha256');
    const inTable = (attribute: number) => (train: Train) => void train.attrString(attribute, name);
    const add = (what: string, bodies: readonly Buffer[]): void => {
      for (const body of bodies.map(b => b.toString('hex')).sort()) hash.update(`${what} ${body}\n`);
    };
    const chains = await this.#dump(NFT.GETCHAIN);
    add(
      'chain',
      chains.filter(body => text(attributes(body, 0).get(CHAIN.TABLE)!) === name),
    );
    // In their order, which matters.
    for (const body of await this.#dump(NFT.GETRULE, inTable(RULE.TABLE)))
      hash.update(`rule ${body.toString('hex')}\n`);
    const sets = await this.#dump(NFT.GETSET, inTable(SET.TABLE));
    add('set', sets);
    for (const body of sets) {
      const set = text(attributes(body, 0).get(SET.NAME)!);
      const parts = await this.#dump(NFT.GETSETELEM, train =>
        train.attrString(ELEMENTS.TABLE, name).attrString(ELEMENTS.SET, set),
      );
      add(`element of ${set}`, parts.flatMap(elementsIn));
    }
    return hash.digest('hex');
  }

  /** Attributes of what is listed: the header before them has the number of the latest change to anything. */
  async #dump(type: number, narrow?: (train: Train) => void): Promise<Buffer[]> {
    const reply = await this.#socket.dump(train => encodeDump(train, type, narrow));
    if (reply.errno !== 0) throw refused(reply, { op: 'list', object: 'nftables' });
    return reply.messages.map(({ body }) => body.subarray(NFGENMSG_BYTES));
  }

  async #one(request: (train: Train) => void, op: string, name: string): Promise<void> {
    const [reply] = await this.#socket.transact([request]);
    if (reply!.errno !== 0) throw refused(reply!, { op, object: objectOf(name) });
  }
}

function objectOf(name: string): string {
  return `nftables table ip ${name}`;
}

/** Elements of one part of a listing: how they are divided into parts is the kernel's affair. */
function elementsIn(body: Buffer): Buffer[] {
  const list = attributes(body, 0).get(ELEMENTS.LIST);
  const result: Buffer[] = [];
  for (let at = 0; list && at + 4 <= list.length; ) {
    const length = list.readUInt16LE(at);
    if (length < 4) break;
    result.push(list.subarray(at, at + length));
    at += (length + 3) & ~3;
  }
  return result;
}

function unbuilt(error: unknown): unknown {
  if (!UNBUILT.includes(codeOf(error) ?? '')) return error;
  return new FimbriaError({
    code: 'NO_NFTABLES',
    op: 'use',
    object: 'nftables',
    why: 'the kernel lacks nf_tables with chains of type nat and masquerade',
    hint: 'load the modules nf_tables, nft_chain_nat and nft_masq, or set bpf.masquerade, or enableIPv4Masquerade to false',
    cause: error,
  });
}
