/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * cilium_host and its peer cilium_net: the door between the host's network
 * stack and the pods. cil_from_host sees what the stack routes to the pods'
 * ranges (egress of cilium_host); cil_to_host what comes in at either end.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/deliver.h"
#include "lib/encap.h"
#include "lib/history.h"
#include "lib/remote.h"

static __always_inline int from_host_ipv4(struct __sk_buff *skb, struct flow *flow)
{
	const struct endpoint_info *destination;
	const struct ipcache_info *remote;
	struct ipv4_packet packet;
	int error;

	error = parse_ipv4(skb, &packet);
	if (error)
		return error;
	flow->source_identity = identity_from_stack(skb, packet.ip->saddr);

	destination = lookup_endpoint(packet.ip->daddr);
	if (destination) {
		flow->destination_identity = destination->identity;
		if (!(destination->flags & ENDPOINT_F_HOST))
			return deliver_from_host(skb, &packet, destination, flow);
		forwarded(skb, flow, TRACE_TO_HOST, SOURCE_HOST_C);
		return TC_ACT_OK;
	}
	remote = lookup_ipcache(packet.ip->daddr);
	flow->destination_identity = remote ? remote->identity : IDENTITY_WORLD;
	error = refuse_unreachable(remote);
	if (error)
		return error;
	if (behind_tunnel(remote))
		return encapsulate(skb, remote, flow);
	forwarded(skb, flow, TRACE_TO_STACK, SOURCE_HOST_C);
	return TC_ACT_OK;
}

SEC("tc")
int cil_from_host(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_EGRESS };
	int verdict = TC_ACT_OK;

	/* Neither end does ARP; what else the stack says here is its own chatter. */
	if (likely(skb->protocol == bpf_htons(ETH_P_IP)))
		verdict = from_host_ipv4(skb, &flow);
	return finish(skb, verdict, &flow);
}

SEC("tc")
int cil_to_host(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_INGRESS };

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	flow.source_identity = identity_of_mark(skb->mark);
	flow.destination_identity = IDENTITY_HOST;
	/* Without ARP the sender writes its own MAC as destination: not ours, and yet for us. */
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	forwarded(skb, &flow, TRACE_TO_HOST, SOURCE_HOST_C);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
