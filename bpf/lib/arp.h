/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A pod's ARP. Every address but its own is behind the host side of its device,
 * so every request is answered with that MAC, whatever the router's address
 * may be after an upgrade. What a pod claims about itself must be true.
 */
#pragma once

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "arp_packet.h"
#include "endpoint.h"
#include "verdict.h"

static __always_inline int answer_arp(struct __sk_buff *skb, struct arp_packet *arp,
				      const struct endpoint_info *sender, const struct flow *flow)
{
	__be32 asked = arp->target_ipv4;

	mac_copy(arp->eth.h_dest, sender->mac);
	mac_copy(arp->eth.h_source, sender->node_mac);
	arp->operation = bpf_htons(ARP_REPLY);
	arp->target_ipv4 = arp->sender_ipv4;
	mac_copy(arp->target_mac, sender->mac);
	arp->sender_ipv4 = asked;
	mac_copy(arp->sender_mac, sender->node_mac);
	forwarded(skb, flow, TRACE_TO_LXC, SOURCE_ARP_H);
	return bpf_redirect(skb->ifindex, 0);
}

static __noinline int from_container_arp(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_EGRESS };
	const struct endpoint_info *sender;
	struct arp_packet *arp;

	if (!point_at_arp(skb, &arp) &&
	    (bpf_skb_pull_data(skb, sizeof(*arp)) < 0 || !point_at_arp(skb, &arp)))
		return DROP(SOURCE_ARP_H, DROP_INVALID);
	if (arp->hardware_type != bpf_htons(ARP_HARDWARE_ETHERNET) ||
	    arp->protocol_type != bpf_htons(ETH_P_IP) || arp->hardware_bytes != MAC_BYTES ||
	    arp->protocol_bytes != sizeof(__be32))
		return DROP(SOURCE_ARP_H, DROP_INVALID);

	/* A probe (RFC 5227) claims nothing yet: the stack objects if the address is the node's. */
	if (arp->sender_ipv4 == 0 && arp->operation == bpf_htons(ARP_REQUEST)) {
		forwarded(skb, &flow, TRACE_TO_STACK, SOURCE_ARP_H);
		return TC_ACT_OK;
	}
	sender = lookup_endpoint(arp->sender_ipv4);
	if (!sender || sender->ifindex != skb->ifindex ||
	    !mac_equal(arp->sender_mac, sender->mac) || !mac_equal(arp->eth.h_source, sender->mac))
		return DROP(SOURCE_ARP_H, DROP_INVALID_SIP);

	flow.source_identity = sender->identity;
	flow.endpoint_id = sender->endpoint_id;
	if (arp->operation == bpf_htons(ARP_REQUEST) && arp->target_ipv4 != arp->sender_ipv4)
		return answer_arp(skb, arp, sender, &flow);
	/* Its replies to the host's own questions, and announcements of itself. */
	forwarded(skb, &flow, TRACE_TO_STACK, SOURCE_ARP_H);
	return TC_ACT_OK;
}
