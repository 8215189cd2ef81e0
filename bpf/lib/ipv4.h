/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The IPv4 header: checked once, then trusted. */
#pragma once

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ethernet.h"
#include "verdict.h"

#define IPV4_FRAGMENT_OFFSET_MASK 0x1FFF

/* Pointers into the packet; any helper that may move it (pull, change_*) makes them stale. */
struct ipv4_packet {
	struct ethhdr *eth;
	struct iphdr *ip;
};

static __always_inline bool point_at_headers(struct __sk_buff *skb, struct ipv4_packet *packet)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;

	packet->eth = data;
	packet->ip = data + ETH_HLEN;
	return data + ETH_HLEN + sizeof(struct iphdr) <= data_end;
}

/*
 * Points at Ethernet and IPv4 header, pulling them together where the packet
 * came in pieces. Refuses what could not be routed: short, not version 4, a
 * header longer than the packet, a packet longer than the frame. Options are
 * allowed and stay out of reach of `ip`.
 */
static __always_inline int parse_ipv4(struct __sk_buff *skb, struct ipv4_packet *packet)
{
	__u32 header_bytes, total_bytes;

	if (unlikely(!point_at_headers(skb, packet))) {
		if (bpf_skb_pull_data(skb, ETH_HLEN + sizeof(struct iphdr)) < 0 ||
		    !point_at_headers(skb, packet))
			return DROP(SOURCE_IPV4_H, DROP_INVALID);
	}
	header_bytes = packet->ip->ihl * 4;
	total_bytes = bpf_ntohs(packet->ip->tot_len);
	if (unlikely(packet->ip->version != 4 || header_bytes < sizeof(struct iphdr)))
		return DROP(SOURCE_IPV4_H, DROP_INVALID);
	/* Segmentation offload beyond 64 KiB (BIG TCP) says 0 and means the frame's own length. */
	if (unlikely(total_bytes == 0 && skb->gso_size))
		total_bytes = skb->len - ETH_HLEN;
	if (unlikely(total_bytes < header_bytes || total_bytes > skb->len - ETH_HLEN))
		return DROP(SOURCE_IPV4_H, DROP_INVALID);
	return 0;
}

/* Whether a router may still pass it on. If not, the stack is given it, to answer ICMP time exceeded. */
static __always_inline bool ttl_allows_forwarding(const struct iphdr *ip)
{
	return ip->ttl > 1;
}

/* TTL is the upper byte of its checksum word, so one less is 0x0100 more in the complemented sum (RFC 1141). */
static __always_inline void decrement_ttl(struct iphdr *ip)
{
	__u32 sum = ip->check;

	sum += bpf_htons(0x0100);
	ip->check = (__u16)(sum + (sum >= 0xFFFF));
	ip->ttl--;
}

static __always_inline bool is_later_fragment(const struct iphdr *ip)
{
	return ip->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET_MASK);
}

/*
 * Bytes of the largest IPv4 packet this one becomes on the wire: itself, or one
 * segment where the device is to cut it. An unreadable transport header counts
 * as its longest form.
 */
static __always_inline __u32 wire_bytes(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u32 header_bytes = ip->ihl * 4;
	struct tcphdr tcp;

	if (!skb->gso_size)
		return skb->len - ETH_HLEN;
	if (ip->protocol == IPPROTO_UDP)
		return header_bytes + sizeof(struct udphdr) + skb->gso_size;
	if (ip->protocol == IPPROTO_TCP &&
	    bpf_skb_load_bytes(skb, ETH_HLEN + header_bytes, &tcp, sizeof(tcp)) == 0)
		return header_bytes + tcp.doff * 4 + skb->gso_size;
	return header_bytes + 60 + skb->gso_size;
}
