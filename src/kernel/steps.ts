import { type NetnsRef, native } from './addon.ts';
import { type Request, refused, repliesIn, trainOf } from './netlink/socket.ts';
import { encodeAddressAdd } from './rtnetlink/address.ts';
import { type Devconf, encodeDevconf, encodeLinkChange, encodeVeth } from './rtnetlink/link.ts';
import { encodeRouteReplace } from './rtnetlink/route.ts';
import { encodeClsactAdd, encodeFilterAdd, type NewFilter } from './rtnetlink/tc.ts';
import type { LinkRef, NewAddress, NewRoute, VethOptions } from './rtnetlink/types.ts';

export type { Devconf } from './rtnetlink/link.ts';
export type { NewFilter } from './rtnetlink/tc.ts';

/** One request of a step. */
export interface StepRequest {
  op: string;
  /** What it is about, for the error. */
  object: string;
  encode: Request;
}

/** Requests that go to the kernel in one go, from inside one namespace. */
export interface Step {
  /** The process's own when undefined. */
  netns: NetnsRef | undefined;
  requests: readonly StepRequest[];
}

/**
 * Carries out steps one behind the other without coming back in between: what a new pod needs of the kernel costs
 * one hop to a thread instead of one for each request. The first step with a refused request is the last; its
 * other requests were carried out. For a thread of its own: calls do not queue behind one another.
 * @throws FimbriaError of the first refusal; what was done before stays done
 */
export async function inSteps(steps: readonly Step[]): Promise<void> {
  const answers = await native().netlinkSteps(
    steps.map(({ netns, requests }) => ({
      ...(netns !== undefined && { netns }),
      train: trainOf(requests.map(r => r.encode)),
    })),
  );
  for (const [i, answer] of answers.entries()) {
    const { requests } = steps[i]!;
    for (const [n, reply] of repliesIn(answer, requests.length).entries())
      if (reply.errno !== 0) throw refused(reply, requests[n]!);
  }
}

/** Requests of a step, in the words of their errors. */
export const step = {
  createVeth: (o: VethOptions, peerNetnsFd: number | undefined): StepRequest => ({
    op: 'create',
    object: `veth ${o.name}`,
    encode: train => encodeVeth(train, o, peerNetnsFd),
  }),
  setDevconf: (ref: LinkRef, conf: Devconf): StepRequest => ({
    op: 'change',
    object: `sysctls of link ${ref}`,
    encode: train => encodeDevconf(train, ref, conf),
  }),
  addClsact: (ifindex: number): StepRequest => ({
    op: 'create',
    object: `clsact of link ${ifindex}`,
    encode: train => encodeClsactAdd(train, ifindex),
  }),
  addFilter: (o: NewFilter): StepRequest => ({
    op: 'attach',
    object: `${o.name} to ${o.direction} of link ${o.ifindex}`,
    encode: train => encodeFilterAdd(train, o),
  }),
  setUp: (ref: LinkRef): StepRequest => ({
    op: 'change',
    object: `link ${ref}`,
    encode: train => encodeLinkChange(train, ref, { up: true }, undefined),
  }),
  addAddress: (o: NewAddress): StepRequest => ({
    op: 'add',
    object: `address ${o.address}/${o.prefixLength}`,
    encode: train => encodeAddressAdd(train, o),
  }),
  replaceRoute: (o: NewRoute): StepRequest => ({
    op: 'replace',
    object: `route ${o.dst}`,
    encode: train => encodeRouteReplace(train, o),
  }),
} as const;
