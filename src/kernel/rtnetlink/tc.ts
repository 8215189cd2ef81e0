import { NLM, type Train } from '../netlink/train.ts';

const RTM_NEWQDISC = 36;
const RTM_NEWTFILTER = 44;
const TCA = { KIND: 1, OPTIONS: 2 } as const;
const TCA_BPF = { FD: 6, NAME: 7, FLAGS: 8 } as const;
const DIRECT_ACTION = 1;
const TCMSG_BYTES = 20;
/** TC_H_CLSACT, and its two hooks as a filter's parent (linux/pkt_sched.h). */
const CLSACT = 0xffff_fff1;
const CLSACT_HANDLE = 0xffff_0000;
const HOOK = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const;
/** ETH_P_ALL in network order: a filter for every packet. */
const ALL_PROTOCOLS_BE = 0x0300;

/** A direct-action program at one hook of a device's clsact, in the slot that libbpf's `bpf_tc_attach` would take. */
export interface NewFilter {
  ifindex: number;
  direction: 'ingress' | 'egress';
  /** Descriptor of the program; it must stay open until the request was sent. */
  programFd: number;
  /** What `tc filter show` prints. */
  name: string;
}

/** struct tcmsg. */
function tcmsg(ifindex: number, handle: number, parent: number, info: number): Buffer {
  const header = Buffer.alloc(TCMSG_BYTES);
  header.writeInt32LE(ifindex, 4);
  header.writeUInt32LE(handle, 8);
  header.writeUInt32LE(parent, 12);
  header.writeUInt32LE(info, 16);
  return header;
}

/** Adds clsact to a device that has none. */
export function encodeClsactAdd(train: Train, ifindex: number): void {
  train
    .message(RTM_NEWQDISC, NLM.ACK | NLM.CREATE | NLM.EXCL, tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0))
    .attrString(TCA.KIND, 'clsact');
}

/** Adds a filter with handle 1, priority 1. */
export function encodeFilterAdd(train: Train, o: NewFilter): void {
  const info = (1 << 16) | ALL_PROTOCOLS_BE;
  train
    .message(RTM_NEWTFILTER, NLM.ACK | NLM.CREATE | NLM.EXCL, tcmsg(o.ifindex, 1, HOOK[o.direction], info))
    .attrString(TCA.KIND, 'bpf')
    .nest(TCA.OPTIONS)
    .attrU32(TCA_BPF.FD, o.programFd)
    .attrString(TCA_BPF.NAME, o.name)
    .attrU32(TCA_BPF.FLAGS, DIRECT_ACTION)
    .end();
}
