import { type Handle, type NetnsRef, native, type Watch } from '../addon.ts';
import { attributes, messages, text } from '../netlink/parse.ts';
import { NETLINK_NETFILTER, NFGENMSG_BYTES, NFT } from './encode.ts';

const NFNLGRP_NFTABLES = 7;
/** Of tables, chains, rules, sets and elements alike: the first attribute names the table. */
const ANY_TABLE = 1;

/** A change of a table or of something in it. */
export interface NftChange {
  table: string;
  /** Number of the socket that asked for it; see `Nftables.port`. */
  port: number;
}

/** Tells of changes to a namespace's nf_tables, from the constructor on. */
export class NftablesMonitor {
  readonly #socket: Handle;
  readonly #watch: Watch;

  /**
   * @param o.onOverrun the kernel had to drop events
   * @throws FimbriaError where the kernel has no netfilter
   */
  constructor(o: { netns?: NetnsRef; onChange(change: NftChange): void; onOverrun(): void }) {
    const addon = native();
    const socket = addon.netlinkOpen([NFNLGRP_NFTABLES], o.netns, NETLINK_NETFILTER);
    this.#socket = socket;
    this.#watch = addon.watch(socket, () => {
      const { data, overrun } = addon.netlinkReceive(socket);
      if (overrun) o.onOverrun();
      for (const { type, body, port } of messages(data)) {
        if (socket.closed) return;
        if (type < NFT.NEWTABLE || type >= NFT.NEWGEN) continue;
        const name = attributes(body, NFGENMSG_BYTES).get(ANY_TABLE);
        if (name) o.onChange({ table: text(name), port });
      }
    });
  }

  /** Lets the process end while this is open. */
  unref(): this {
    this.#watch.unref();
    return this;
  }

  /** Stops; no event comes after it. A second call does nothing. */
  close(): void {
    this.#watch.close();
    this.#socket.close();
  }
}
