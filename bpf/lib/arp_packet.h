/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What ARP looks like on Ethernet. */
#pragma once

#include <linux/bpf.h>

#include "ethernet.h"

#define ARP_HARDWARE_ETHERNET 1
#define ARP_REQUEST	      1
#define ARP_REPLY	      2

/* RFC 826 for Ethernet and IPv4. Our own: <linux/if_arp.h> needs a C library. */
struct arp_packet {
	struct ethhdr eth;
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[MAC_BYTES];
	__be32 sender_ipv4;
	__u8 target_mac[MAC_BYTES];
	__be32 target_ipv4;
} __attribute__((packed, aligned(2)));

static __always_inline bool point_at_arp(struct __sk_buff *skb, struct arp_packet **arp)
{
	*arp = (void *)(long)skb->data;
	return (void *)(*arp + 1) <= (void *)(long)skb->data_end;
}
