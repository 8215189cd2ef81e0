/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * To an endpoint of this node. Whoever puts the packet into the pod applies the
 * pod's ingress policy and counts: this function, or cil_to_container where the
 * packet comes out of the stack.
 */
#pragma once

#include <bpf/bpf_helpers.h>

#include "config.h"
#include "policy.h"
#include "reply.h"
#include "stack.h"

/* What every packet meets on its last step into a pod: its policy, and the way back of its services. 0 or a drop. */
static __always_inline int admit(struct __sk_buff *skb, struct ipv4_packet *packet,
				 struct tuple *tuple, const struct endpoint_info *endpoint,
				 const struct flow *flow)
{
	int answer = ingress_policy(skb, tuple, endpoint, flow->source_identity);

	if (answer || !cfg_pod_lb)
		return answer;
	answer = answer_pod(skb, tuple);
	if (answer == REPLY && !point_at_headers(skb, packet))
		return DROP(SOURCE_DELIVER_H, DROP_INVALID);
	return answer < 0 ? answer : 0;
}

/* Into the pod through the device's own transmit path. */
static __always_inline int deliver_to_device(struct __sk_buff *skb,
					     const struct ipv4_packet *packet,
					     const struct endpoint_info *endpoint,
					     const struct flow *flow)
{
	mac_copy(packet->eth->h_dest, endpoint->mac);
	mac_copy(packet->eth->h_source, endpoint->node_mac);
	forwarded(skb, flow, TRACE_TO_LXC, SOURCE_DELIVER_H);
	return bpf_redirect(endpoint->ifindex, 0);
}

/* As deliver_to_device, but straight into the pod's namespace. The kernel allows it from ingress hooks only. */
static __always_inline int deliver_to_peer(struct __sk_buff *skb, const struct ipv4_packet *packet,
					   const struct endpoint_info *endpoint,
					   const struct flow *flow)
{
	mac_copy(packet->eth->h_dest, endpoint->mac);
	mac_copy(packet->eth->h_source, endpoint->node_mac);
	forwarded(skb, flow, TRACE_TO_LXC, SOURCE_DELIVER_H);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

/*
 * From an ingress hook: this node is a router on the packet's way, so it costs
 * a TTL. With endpoint routes and the host's stack in use the stack delivers.
 */
static __always_inline int deliver(struct __sk_buff *skb, struct ipv4_packet *packet,
				   struct tuple *tuple, const struct endpoint_info *endpoint,
				   struct flow *flow)
{
	int error;

	if (!cfg_host_routing && cfg_endpoint_routes)
		return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_DELIVER_H);
	if (unlikely(!ttl_allows_forwarding(packet->ip)))
		return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_DELIVER_H);

	flow->direction = DIRECTION_INGRESS;
	flow->endpoint_id = endpoint->endpoint_id;
	error = admit(skb, packet, tuple, endpoint, flow);
	if (error)
		return error;
	decrement_ttl(packet->ip);
	if (cfg_host_routing)
		return deliver_to_peer(skb, packet, endpoint, flow);
	return deliver_to_device(skb, packet, endpoint, flow);
}

/*
 * From cilium_host's egress: the stack has routed already and taken its TTL.
 * With endpoint routes the device's own cil_to_container applies the policy
 * and counts; the mark tells it who sent the packet.
 */
static __always_inline int deliver_from_host(struct __sk_buff *skb, struct ipv4_packet *packet,
					     const struct endpoint_info *endpoint,
					     struct flow *flow)
{
	struct tuple tuple = { .kind = TUPLE_UNREAD };
	int error;

	flow->direction = DIRECTION_INGRESS;
	flow->endpoint_id = endpoint->endpoint_id;
	if (cfg_endpoint_routes) {
		mark_identity(skb, flow->source_identity);
		mac_copy(packet->eth->h_dest, endpoint->mac);
		mac_copy(packet->eth->h_source, endpoint->node_mac);
		return bpf_redirect(endpoint->ifindex, 0);
	}
	error = admit(skb, packet, &tuple, endpoint, flow);
	if (error)
		return error;
	return deliver_to_device(skb, packet, endpoint, flow);
}
