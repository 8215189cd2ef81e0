/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_vxlan: what other nodes send through the tunnel, and a count of what we send. */
#include <linux/bpf.h>
#include <linux/if_packet.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/deliver.h"
#include "lib/encap.h"
#include "lib/history.h"
#include "lib/node_port.h"
#include "lib/remote.h"

static __always_inline int from_overlay_ipv4(struct __sk_buff *skb, struct flow *flow)
{
	const struct endpoint_info *destination;
	const struct ipcache_info *remote;
	struct bpf_tunnel_key key = {};
	struct ipv4_packet packet;
	struct tuple tuple = { .kind = TUPLE_UNREAD };
	int error;

	if (bpf_skb_get_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, 0) < 0)
		return DROP(SOURCE_OVERLAY_C, DROP_TUNNEL_KEY);
	flow->source_identity = key.tunnel_id;
	/* Nobody may claim to be this node's host. */
	if (unlikely(key.tunnel_id == IDENTITY_UNKNOWN || key.tunnel_id == IDENTITY_HOST))
		return DROP(SOURCE_OVERLAY_C, DROP_INVALID_IDENTITY);
	/* The inner frame names no MAC of ours; neither stack nor pod takes another station's. */
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);

	error = parse_ipv4(skb, &packet);
	if (error)
		return error;
	if (cfg_node_port && packet.ip->daddr == bpf_htonl(cfg_router_ipv4)) {
		load_tuple(skb, &tuple);
		error = is_flow(&tuple) ? back_to_client(skb, &tuple, flow) : NOT_OURS;
		if (error != NOT_OURS)
			return error;
		if (!point_at_headers(skb, &packet))
			return DROP(SOURCE_OVERLAY_C, DROP_INVALID);
	}
	destination = lookup_endpoint(packet.ip->daddr);
	if (likely(destination)) {
		flow->destination_identity = destination->identity;
		if (!(destination->flags & ENDPOINT_F_HOST))
			return deliver(skb, &packet, &tuple, destination, flow);
		return to_stack(skb, flow, TRACE_TO_HOST, SOURCE_OVERLAY_C);
	}
	remote = lookup_ipcache(packet.ip->daddr);
	flow->destination_identity = remote ? remote->identity : IDENTITY_WORLD;
	error = refuse_unreachable(remote);
	if (error)
		return error;
	return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_OVERLAY_C);
}

SEC("tc")
int cil_from_overlay(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_INGRESS };
	int verdict;

	if (likely(skb->protocol == bpf_htons(ETH_P_IP) && !skb->vlan_present))
		verdict = from_overlay_ipv4(skb, &flow);
	else
		verdict = DROP(SOURCE_OVERLAY_C, DROP_UNKNOWN_L3);
	return finish(skb, verdict, &flow);
}

/*
 * Counted as seen at the interface: the program that sent the packet here has
 * counted its verdict. Whatever is not IPv4 is the device's own chatter (MLD,
 * router solicitation): it has no key, and the tunnel discards it.
 */
SEC("tc")
int cil_to_overlay(struct __sk_buff *skb)
{
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	/* What the kernel wraps it into is the node's own: the network device needs no closer look. */
	if (cfg_node_port || cfg_masquerade)
		set_mark(skb, MARK_MAGIC_OVERLAY);
	count_packet(skb, REASON_INTERFACE, DIRECTION_EGRESS, SOURCE_OVERLAY_C, __LINE__);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
