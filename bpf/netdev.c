/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The node's own network devices. Most of what passes here is the machine's own
 * traffic: whatever is not clearly of a pod or a service goes on untouched and
 * uncounted.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/caller.h"
#include "lib/deliver.h"
#include "lib/history.h"
#include "lib/l2_responder.h"
#include "lib/masquerade.h"
#include "lib/node_port.h"
#include "lib/own_address.h"
#include "lib/remote.h"

/*
 * A pod's address is no frontend's and no end of a translation, so a packet for it need not be looked for there. With
 * options it may be another node's, for a backend that answers by itself.
 */
static __always_inline bool is_plainly_for_pod(const struct endpoint_info *destination,
					       const struct iphdr *ip)
{
	return destination && !(destination->flags & ENDPOINT_F_HOST) &&
	       (!cfg_dsr || ip->ihl * 4 == sizeof(*ip));
}

static __always_inline int from_netdev_ipv4(struct __sk_buff *skb, struct flow *flow)
{
	const struct endpoint_info *destination;
	const struct ipcache_info *remote;
	struct tuple tuple = { .kind = TUPLE_UNREAD };
	struct ipv4_packet packet;
	int verdict;

	/* The machine's own traffic, the tunnel's too, pays one comparison. */
	if (!cfg_node_port && !cfg_masquerade && point_at_headers(skb, &packet) &&
	    packet.ip->daddr == bpf_htonl(cfg_node_ipv4))
		return TC_ACT_OK;
	if (parse_ipv4(skb, &packet))
		return TC_ACT_OK; /* the stack has its own counters for these */
	destination = lookup_endpoint(packet.ip->daddr);
	if ((cfg_node_port || cfg_masquerade) && !is_plainly_for_pod(destination, packet.ip)) {
		verdict = from_outside(skb, &tuple, flow);
		if (verdict != NOT_OURS)
			return verdict;
		if (!point_at_headers(skb, &packet) || packet.ip->daddr == bpf_htonl(cfg_node_ipv4))
			return TC_ACT_OK;
		destination = lookup_endpoint(packet.ip->daddr);
	} else if (destination && is_caller(destination, packet.ip->saddr)) {
		verdict = remember_caller(skb, &tuple);
		if (verdict)
			return verdict;
	}
	if (destination) {
		/* Without host routing the stack delivers, by way of cilium_host or the endpoint's route. */
		if (!cfg_host_routing || destination->flags & ENDPOINT_F_HOST)
			return TC_ACT_OK;
		if (cfg_stack_masquerade &&
		    !past_stack(packet.ip->saddr, lookup_ipcache(packet.ip->saddr)))
			return TC_ACT_OK;
		/* Nobody asks who sends: then the longest look-up of this way is left out. */
		if (destination->flags & ENDPOINT_F_POLICY_INGRESS ||
		    !ttl_allows_forwarding(packet.ip) || is_tracing())
			flow->source_identity = identity_of_address(packet.ip->saddr);
		flow->destination_identity = destination->identity;
		return deliver(skb, &packet, &tuple, destination, flow);
	}
	remote = lookup_ipcache(packet.ip->daddr);
	if (remote)
		flow->destination_identity = remote->identity;
	return refuse_unreachable(remote) ?: TC_ACT_OK;
}

SEC("tc")
int cil_from_netdev(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_INGRESS };

	if (cfg_l2_announcements && skb->protocol == bpf_htons(ETH_P_ARP) &&
	    skb->pkt_type != PACKET_OTHERHOST && !skb->vlan_present)
		return finish(skb, answer_announced(skb, &flow), &flow);
	/* Frames for other stations are seen in promiscuous mode only; tagged ones belong to a VLAN device. */
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST ||
	    skb->vlan_present)
		return TC_ACT_OK;
	return finish(skb, from_netdev_ipv4(skb, &flow), &flow);
}

static __always_inline bool is_as_it_leaves(__u32 mark)
{
	return (mark & MARK_MAGIC_MASK) == MARK_MAGIC_TRANSLATED ||
	       (mark & MARK_MAGIC_MASK) == MARK_MAGIC_OVERLAY;
}

/* Attached only where services or masquerade are translated here. */
SEC("tc")
int cil_to_netdev(struct __sk_buff *skb)
{
	struct flow flow = { .direction = DIRECTION_EGRESS };

	if (skb->protocol != bpf_htons(ETH_P_IP) || is_as_it_leaves(skb->mark))
		return TC_ACT_OK;
	return finish(skb, leave_node(skb, &flow), &flow);
}

char _license[] SEC("license") = "Dual BSD/GPL";
