/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services for clients outside: node ports, external and load-balancer
 * addresses. A backend of this node sees the client's address, and so does a
 * remote one that answers by itself; else the node puts its own in its place, so
 * that replies come back this way.
 */
#pragma once

#include "deliver.h"
#include "device_address.h"
#include "dsr.h"
#include "encap.h"
#include "fib.h"
#include "lb.h"
#include "nat.h"
#include "refuse.h"
#include "remote.h"
#include "reply.h"

/* No verdict: the packet goes on as any other. */
#define NOT_OURS 64

static __always_inline int deliver_to_backend(struct __sk_buff *skb, struct tuple *tuple,
					      const struct endpoint_info *backend,
					      struct flow *flow)
{
	struct ipv4_packet packet;

	if (!point_at_headers(skb, &packet))
		return DROP(SOURCE_NODEPORT_H, DROP_INVALID);
	if (backend->flags & ENDPOINT_F_HOST)
		return to_stack(skb, flow, TRACE_TO_HOST, SOURCE_NODEPORT_H);
	if (cfg_host_routing || !cfg_endpoint_routes)
		return deliver(skb, &packet, tuple, backend, flow);
	/* The stack would see one direction only, since replies go past it. The pod's own program judges and counts. */
	if (unlikely(!ttl_allows_forwarding(packet.ip)))
		return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_NODEPORT_H);
	decrement_ttl(packet.ip);
	mark_identity(skb, flow->source_identity);
	mac_copy(packet.eth->h_dest, backend->mac);
	mac_copy(packet.eth->h_source, backend->node_mac);
	return bpf_redirect(backend->ifindex, 0);
}

/* Out of the node as it is now, past the stack, which would not know whose packet that is. */
static __always_inline int send_translated(struct __sk_buff *skb, const struct ipcache_info *remote,
					   struct flow *flow)
{
	struct ipv4_packet packet;

	if (!point_at_headers(skb, &packet))
		return DROP(SOURCE_NODEPORT_H, DROP_INVALID);
	if (behind_tunnel(remote))
		return encapsulate_from_pod(skb, &packet, remote, flow);
	set_mark(skb, MARK_MAGIC_TRANSLATED);
	flow->translated = true;
	return via_neighbour(remote) ? route_to_node(skb, &packet, remote, flow)
				     : route_from_pod(skb, &packet, flow);
}

static __always_inline int send_to_backend(struct __sk_buff *skb, struct tuple *tuple,
					   const struct lb_choice *choice, struct flow *flow)
{
	__be32 client = tuple->key.saddr;
	const struct endpoint_info *local;
	const struct ipcache_info *remote;
	__be32 source;
	bool dsr;
	int error;

	flow->source_identity = identity_of_address(client);
	error = rewrite(skb, tuple, END_DESTINATION, choice->backend, choice->backend_port);
	if (error)
		return error;
	local = lookup_endpoint(choice->backend);
	dsr = cfg_dsr && !local && choice->service_flags & LB_F_DSR && backend_answers(skb, tuple);
	error = lb_track(skb, tuple, choice, client,
			 (local ? CT_INGRESS : CT_EGRESS) | CT_F_NODE_PORT << 8 |
				 (dsr ? CT_F_DSR << 8 : 0));
	if (error)
		return error;
	tuple->to_service = 1;
	if (local) {
		flow->destination_identity = local->identity;
		return deliver_to_backend(skb, tuple, local, flow);
	}
	remote = lookup_ipcache(choice->backend);
	flow->destination_identity = remote ? remote->identity : IDENTITY_WORLD;
	error = refuse_unreachable(remote);
	if (error)
		return error;
	if (dsr) {
		error = dsr_tell(skb, tuple, choice->frontend, choice->frontend_port);
		return error ?: send_translated(skb, remote, flow);
	}
	source = bpf_htonl(behind_tunnel(remote) ? cfg_router_ipv4 : cfg_node_ipv4);
	error = nat_out(skb, tuple, source);
	if (error)
		return error;
	return send_translated(skb, remote, flow);
}

/*
 * A reply to an address of this node that a translation has given: NOT_OURS with
 * its old destination when that is on this node, or of nobody's translation.
 */
static __always_inline int back_to_client(struct __sk_buff *skb, struct tuple *tuple,
					  struct flow *flow)
{
	__be32 backend = tuple->key.saddr;
	int answer = nat_in(skb, tuple);

	if (answer < 0)
		return answer;
	/* A pod's own flow to a service is its pod's to answer, behind its policy. */
	if (!answer || !cfg_node_port || lookup_endpoint(tuple->key.daddr))
		return NOT_OURS;
	answer = reply_from_service(skb, tuple, CT_EGRESS);
	if (answer < 0)
		return answer;
	if (answer == NO_REPLY)
		return NOT_OURS;
	flow->direction = DIRECTION_EGRESS;
	/* A tunnel's far end wants to know who sends. */
	if (cfg_tunnel && flow->source_identity == IDENTITY_UNKNOWN)
		flow->source_identity = identity_of_address(backend);
	flow->destination_identity = identity_of_address(tuple->key.daddr);
	return send_translated(skb, lookup_ipcache(tuple->key.daddr), flow);
}

/* Who is not let in learns nothing; who asks for what nobody serves need not wait. */
static __always_inline int refuse(struct __sk_buff *skb, const struct tuple *tuple, int verdict,
				  const struct flow *flow)
{
	if ((__u8)-verdict != DROP_NO_SERVICE_BACKEND)
		return verdict;
	finish(skb, verdict, flow);
	return refuse_client(skb, tuple);
}

static __always_inline int from_outside(struct __sk_buff *skb, struct tuple *tuple,
					struct flow *flow)
{
	struct lb_choice choice;
	int answer;

	load_tuple(skb, tuple);
	if (!is_flow(tuple))
		return NOT_OURS;
	if (cfg_node_port) {
		answer = lb_choose(skb, tuple, &choice, LB_CLIENT_OUTSIDE);
		if (answer < 0)
			return refuse(skb, tuple, answer, flow);
		if (answer == LB_CHOSEN)
			return send_to_backend(skb, tuple, &choice, flow);
	}
	if (cfg_dsr && tuple->kind == TUPLE_FLOW && lookup_endpoint(tuple->key.daddr)) {
		answer = dsr_learn(skb, tuple);
		if (answer)
			return answer;
	}
	if (is_own_address(skb, tuple->key.daddr))
		return back_to_client(skb, tuple, flow);
	return NOT_OURS;
}
