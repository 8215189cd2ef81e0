/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ARP for addresses of services: whoever on the segment asks for one that this
 * node announces gets the device's MAC. An entry is good for as long as its
 * lease: a node whose agent is dead falls silent before another node takes over.
 */
#pragma once

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "arp_packet.h"
#include "maps.h"
#include "verdict.h"

static __always_inline struct l2_responder *announced(__be32 ipv4, __u32 ifindex)
{
	struct l2_responder_key key = { .ipv4 = ipv4, .ifindex = ifindex };
	struct l2_responder *entry = bpf_map_lookup_elem(&cilium_l2_responder_v4, &key);

	return entry && bpf_ktime_get_ns() < entry->valid_until_ns ? entry : NULL;
}

static __always_inline int answer_announced(struct __sk_buff *skb, const struct flow *flow)
{
	struct l2_responder *entry;
	struct arp_packet *arp;
	__be32 asked;

	/* Whatever is no request for an address of ours is the stack's, however broken. */
	if (!point_at_arp(skb, &arp) &&
	    (bpf_skb_pull_data(skb, sizeof(*arp)) < 0 || !point_at_arp(skb, &arp)))
		return TC_ACT_OK;
	if (arp->operation != bpf_htons(ARP_REQUEST) ||
	    arp->hardware_type != bpf_htons(ARP_HARDWARE_ETHERNET) ||
	    arp->protocol_type != bpf_htons(ETH_P_IP) || arp->hardware_bytes != MAC_BYTES ||
	    arp->protocol_bytes != sizeof(__be32))
		return TC_ACT_OK;
	asked = arp->target_ipv4;
	entry = announced(asked, skb->ifindex);
	/* Who announces the address itself (RFC 5227) asks nothing. */
	if (!entry || arp->sender_ipv4 == asked)
		return TC_ACT_OK;

	mac_copy(arp->eth.h_dest, arp->sender_mac);
	mac_copy(arp->eth.h_source, entry->mac);
	arp->operation = bpf_htons(ARP_REPLY);
	mac_copy(arp->target_mac, arp->sender_mac);
	arp->target_ipv4 = arp->sender_ipv4;
	mac_copy(arp->sender_mac, entry->mac);
	arp->sender_ipv4 = asked;
	__sync_fetch_and_add(&entry->responses, 1);
	forwarded(skb, flow, TRACE_TO_NETWORK, SOURCE_L2_RESPONDER_H);
	return bpf_redirect(skb->ifindex, 0);
}
