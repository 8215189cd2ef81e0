/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What leaves the node by its own devices: pods' packets with the node's address, the node's own as it must. */
#pragma once

#include "caller.h"
#include "device_address.h"
#include "endpoint.h"
#include "nat.h"
#include "own_address.h"
#include "reply.h"

/*
 * An echo reply answers who asked this very address; its identifier is the
 * other's, and not there to be changed. With identifier 0 nothing tells it from
 * a request, which it then passes for.
 */
static __always_inline bool is_echo_reply(const struct tuple *tuple)
{
	return tuple->key.l4_proto == IPPROTO_ICMP && tuple->kind == TUPLE_FLOW && tuple->key.dport;
}

/* A packet of the node itself: out of a backend that is no pod, or in the way of a translation. 0 or a drop. */
static __noinline int host_leaves(struct __sk_buff *skb)
{
	const struct nat_entry *known;
	struct nat_key key;
	struct tuple tuple;
	__u32 now;
	int answer;

	load_tuple(skb, &tuple);
	if (!is_flow(&tuple))
		return 0;
	if (cfg_node_port) {
		answer = reply_from_service(skb, &tuple, CT_INGRESS);
		if (answer)
			return answer < 0 ? answer : 0;
	}
	if (is_echo_reply(&tuple))
		return 0;
	now = tuple.now_s;
	set_key(&key, &tuple.key, NAT_OUT);
	known = nat_find(&key, now);
	/* About a reply that had its old destination again already: who gets the error knows the flow as it left. */
	if (tuple.kind == TUPLE_ICMP_ERROR)
		return known ? nat_out(skb, &tuple, known->address) : 0;
	if (!known) {
		set_reverse_key(&key, &tuple.key, NAT_IN);
		if (!nat_find(&key, now))
			return 0;
	}
	/* What comes back on this port is a pod's, or was ours the time before. */
	return nat_out(skb, &tuple, tuple.key.saddr);
}

static __noinline int masquerade(struct __sk_buff *skb)
{
	struct tuple tuple;

	load_tuple(skb, &tuple);
	if (is_echo_reply(&tuple) || answers_caller(skb, &tuple))
		return 0;
	switch (tuple.kind) {
	case TUPLE_FLOW:
	case TUPLE_ICMP_ERROR:
		return nat_out(skb, &tuple, device_address(skb));
	case TUPLE_TRUNCATED:
		return DROP(SOURCE_MASQUERADE_H, DROP_INVALID);
	case TUPLE_LOST_FRAGMENT:
		return DROP(SOURCE_MASQUERADE_H, DROP_FRAGMENT_NOT_FOUND);
	default:
		return DROP(SOURCE_MASQUERADE_H, DROP_NAT_UNSUPPORTED_PROTOCOL);
	}
}

static __always_inline int leave_node(struct __sk_buff *skb, struct flow *flow)
{
	const struct endpoint_info *sender;
	struct ipv4_packet packet;
	int verdict;

	if (parse_ipv4(skb, &packet))
		return 0; /* the stack made it */
	if (is_own_address(skb, packet.ip->saddr))
		return host_leaves(skb);
	if (!cfg_masquerade)
		return 0;
	sender = lookup_endpoint(packet.ip->saddr);
	if (!sender || sees_own_address(packet.ip->daddr, lookup_ipcache(packet.ip->daddr)))
		return 0;
	/* Of the node's own addresses only the router's is unknown outside. */
	if (sender->flags & ENDPOINT_F_HOST && packet.ip->saddr != bpf_htonl(cfg_router_ipv4))
		return 0;
	flow->source_identity = sender->identity;
	flow->endpoint_id = sender->endpoint_id;
	flow->destination_identity = identity_of_address(packet.ip->daddr);
	verdict = masquerade(skb);
	/* It was counted on its way out of the pod; here it is seen as the network sees it. */
	if (!verdict && is_tracing())
		emit_trace(skb, flow, TRACE_TO_NETWORK, SOURCE_MASQUERADE_H, __LINE__);
	return verdict;
}
