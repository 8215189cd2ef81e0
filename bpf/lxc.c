/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The host side of every pod's veth. Seen from the host: what a pod sends
 * comes in at ingress, what it receives goes out at egress.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/arp.h"
#include "lib/deliver.h"
#include "lib/encap.h"
#include "lib/fib.h"
#include "lib/history.h"
#include "lib/own_address.h"
#include "lib/pod_lb.h"
#include "lib/remote.h"

/* A pod sends from its own device, address and MAC, or not at all. */
static __always_inline bool is_genuine(struct __sk_buff *skb, const struct endpoint_info *source,
				       const struct ethhdr *eth)
{
	return source && source->ifindex == skb->ifindex && mac_equal(eth->h_source, source->mac);
}

/*
 * A backend's reply to a client outside goes back as the service's; clients on
 * this node are no clients of that kind. 0 or a drop.
 */
static __always_inline int answer_client(struct __sk_buff *skb, struct ipv4_packet *packet,
					 struct tuple *tuple, struct flow *flow)
{
	int answer;

	if (!cfg_node_port)
		return 0;
	need_tuple(skb, tuple);
	/* What the pod itself has begun answers nobody. */
	if (!is_flow(tuple) || (tuple->entry && tuple->key.direction == CT_EGRESS))
		return 0;
	answer = reply_from_service(skb, tuple, CT_INGRESS);
	if (answer != REPLY)
		return answer;
	flow->translated = true;
	return point_at_headers(skb, packet) ? 0 : DROP(SOURCE_LXC_C, DROP_INVALID);
}

/* A pod that a service has sent to itself: it was allowed to all along. */
static __always_inline int deliver_to_self(struct __sk_buff *skb, const struct ipv4_packet *packet,
					   const struct endpoint_info *self, struct flow *flow)
{
	flow->destination_identity = self->identity;
	flow->direction = DIRECTION_INGRESS;
	if (unlikely(!ttl_allows_forwarding(packet->ip)))
		return DROP(SOURCE_LXC_C, DROP_TTL_EXCEEDED);
	decrement_ttl(packet->ip);
	/* Not through its own device's egress, where the answer would be looked for once more. */
	return deliver_to_peer(skb, packet, self, flow);
}

static __always_inline int to_remote(struct __sk_buff *skb, struct ipv4_packet *packet,
				     struct tuple *tuple, const struct endpoint_info *source,
				     struct flow *flow)
{
	const struct ipcache_info *remote = lookup_ipcache(packet->ip->daddr);
	int error;

	flow->destination_identity = remote ? remote->identity : IDENTITY_WORLD;
	error = egress_policy(skb, tuple, source, flow->destination_identity);
	if (error)
		return error;
	error = refuse_unreachable(remote);
	if (error)
		return error;
	error = answer_client(skb, packet, tuple, flow);
	if (error)
		return error;
	if (behind_tunnel(remote))
		return encapsulate_from_pod(skb, packet, remote, flow);
	/* Of what goes back to a service's client the stack has not seen the beginning. */
	if (past_stack(packet->ip->daddr, remote) || flow->translated)
		return via_neighbour(remote) ? route_to_node(skb, packet, remote, flow)
					     : route_from_pod(skb, packet, flow);
	return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_LXC_C);
}

static __always_inline int from_container_ipv4(struct __sk_buff *skb, struct flow *flow)
{
	const struct endpoint_info *source, *destination;
	struct tuple tuple = { .kind = TUPLE_UNREAD };
	struct ipv4_packet packet;
	int error;

	error = parse_ipv4(skb, &packet);
	if (error)
		return error;
	source = lookup_endpoint(packet.ip->saddr);
	if (unlikely(!is_genuine(skb, source, packet.eth)))
		return DROP(SOURCE_LXC_C, DROP_INVALID_SIP);
	flow->source_identity = source->identity;
	flow->endpoint_id = source->endpoint_id;

	if (cfg_pod_lb)
		load_tuple(skb, &tuple);
	if (cfg_pod_lb && is_flow(&tuple)) {
		error = pod_to_service(skb, &tuple);
		if (error < 0)
			return error;
		if (error && !point_at_headers(skb, &packet))
			return DROP(SOURCE_LXC_C, DROP_INVALID);
		if (error == POD_LB_SELF)
			return deliver_to_self(skb, &packet, source, flow);
	}
	destination = lookup_endpoint(packet.ip->daddr);
	if (!destination)
		return to_remote(skb, &packet, &tuple, source, flow);
	flow->destination_identity = destination->identity;
	error = egress_policy(skb, &tuple, source, flow->destination_identity);
	if (error)
		return error;
	if (destination->flags & ENDPOINT_F_HOST)
		return to_stack(skb, flow, TRACE_TO_HOST, SOURCE_LXC_C);
	return deliver(skb, &packet, &tuple, destination, flow);
}

SEC("tc")
int cil_from_container(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_EGRESS };
	int verdict;

	if (unlikely(skb->vlan_present))
		verdict = DROP(SOURCE_LXC_C, DROP_UNKNOWN_L3);
	else if (likely(skb->protocol == bpf_htons(ETH_P_IP)))
		verdict = from_container_ipv4(skb, &flow);
	else if (skb->protocol == bpf_htons(ETH_P_ARP))
		verdict = from_container_arp(skb);
	else
		verdict = DROP(SOURCE_LXC_C, DROP_UNKNOWN_L3);
	return finish(skb, verdict, &flow);
}

static __always_inline int to_container_ipv4(struct __sk_buff *skb, struct flow *flow)
{
	struct tuple tuple = { .kind = TUPLE_UNREAD };
	const struct endpoint_info *endpoint;
	struct ipv4_packet packet;
	int error;

	error = parse_ipv4(skb, &packet);
	if (error)
		return error;
	flow->source_identity = identity_from_stack(skb, packet.ip->saddr);
	endpoint = lookup_endpoint(packet.ip->daddr);
	/* A route that outlived its pod, or a packet for another one. */
	if (!endpoint || endpoint->ifindex != skb->ifindex)
		return DROP(SOURCE_LXC_C, DROP_UNROUTABLE);
	flow->destination_identity = endpoint->identity;
	flow->endpoint_id = endpoint->endpoint_id;
	error = admit(skb, &packet, &tuple, endpoint, flow);
	if (error)
		return error;
	forwarded(skb, flow, TRACE_TO_LXC, SOURCE_LXC_C);
	return TC_ACT_OK;
}

SEC("tc")
int cil_to_container(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_INGRESS };
	int verdict;

	if (likely(skb->protocol == bpf_htons(ETH_P_IP)))
		verdict = to_container_ipv4(skb, &flow);
	else if (skb->protocol == bpf_htons(ETH_P_ARP))
		verdict =
			TC_ACT_OK; /* the stack's questions about the pod, and our own answers to it */
	else
		verdict = DROP(SOURCE_LXC_C, DROP_UNKNOWN_L3);
	return finish(skb, verdict, &flow);
}

char _license[] SEC("license") = "Dual BSD/GPL";
