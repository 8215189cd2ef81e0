/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The life of a flow. What each side has sent of TCP's flags is noted by that
 * side's packets alone, so that no CPU overwrites what another notes.
 */
#pragma once

#include "tuple.h"

static __always_inline bool has_closed(__u8 tcp_flags)
{
	return tcp_flags & (TCP_FIN | TCP_RST);
}

/* Both sides have said goodbye, or one has hung up. */
static __always_inline bool is_over(__u8 tx_tcp_flags, __u8 rx_tcp_flags)
{
	return (has_closed(tx_tcp_flags) && has_closed(rx_tcp_flags)) ||
	       (tx_tcp_flags | rx_tcp_flags) & TCP_RST;
}

/* Whoever is given no more than this has closed, or has been silent for nearly as long as he may. */
static __always_inline bool is_ending(__u32 expires_s, __u32 now)
{
	return (__s32)(expires_s - now) <= CT_LIFETIME_CLOSING_S;
}

static __always_inline __u32 lifetime_s(__u8 l4_proto, __u16 flags, __u8 tx_tcp_flags,
					__u8 rx_tcp_flags)
{
	if (l4_proto != IPPROTO_TCP)
		return CT_LIFETIME_ANY_S;
	if (is_over(tx_tcp_flags, rx_tcp_flags))
		return CT_LIFETIME_CLOSING_S;
	/* Who only ever sends to us must not make us remember it for hours; where answers go past us nobody can tell. */
	if (flags & CT_F_SEEN_REPLY)
		return CT_LIFETIME_TCP_S;
	if (flags & CT_F_DSR && flags & CT_F_SEEN_NON_SYN && !has_closed(tx_tcp_flags))
		return CT_LIFETIME_TCP_S;
	return CT_LIFETIME_SYN_S;
}

static __always_inline bool is_syn(const struct tuple *tuple)
{
	return tuple->key.l4_proto == IPPROTO_TCP && tuple->kind == TUPLE_FLOW && tuple->has_l4 &&
	       (tuple->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline struct ct_entry *ct_lookup(const struct ct_key *key)
{
	if (key->l4_proto == IPPROTO_TCP)
		return bpf_map_lookup_elem(&cilium_ct4_global, key);
	return bpf_map_lookup_elem(&cilium_ct_any4_global, key);
}

/* An entry that is still good; the others wait to be collected, or to be written over. */
static __always_inline struct ct_entry *ct_find(const struct ct_key *key, __u32 now)
{
	struct ct_entry *entry = ct_lookup(key);

	return entry && (__s32)(entry->expires_s - now) > 0 ? entry : NULL;
}

/* What conntrack's and translation's entries have in common. */
struct life {
	__u32 expires_s;
	__u16 flags; /* enum ct_flag */
	__u8 tx_tcp_flags;
	__u8 rx_tcp_flags;
};

/* A packet of the flow came by, from the side that opened it or from the other. */
static __always_inline void live_on(struct life *life, const struct tuple *tuple, bool is_reply,
				    __u32 now)
{
	if (!is_reply && is_syn(tuple) && is_over(life->tx_tcp_flags, life->rx_tcp_flags)) {
		life->tx_tcp_flags = 0; /* the same ports again */
		life->rx_tcp_flags = 0;
		life->flags &=
			~(CT_F_SEEN_REPLY | CT_F_SEEN_NON_SYN | CT_F_TX_CLOSING | CT_F_RX_CLOSING);
	}
	if (is_reply) {
		life->rx_tcp_flags |= tuple->tcp_flags;
		life->flags |= CT_F_SEEN_REPLY;
		if (has_closed(tuple->tcp_flags))
			life->flags |= CT_F_RX_CLOSING;
	} else {
		life->tx_tcp_flags |= tuple->tcp_flags;
		if (has_closed(tuple->tcp_flags))
			life->flags |= CT_F_TX_CLOSING;
	}
	if (!(tuple->tcp_flags & TCP_SYN))
		life->flags |= CT_F_SEEN_NON_SYN;
	life->expires_s = now + lifetime_s(tuple->key.l4_proto, life->flags, life->tx_tcp_flags,
					   life->rx_tcp_flags);
}

/* Unchanged words are not written: other CPUs have them in their caches. */
#define read_life(entry)                                                                      \
	{                                                                                     \
		.expires_s = (entry)->expires_s, .flags = (entry)->flags,                     \
		.tx_tcp_flags = (entry)->tx_tcp_flags, .rx_tcp_flags = (entry)->rx_tcp_flags, \
	}

#define write_life(entry, life)                                       \
	do {                                                          \
		if ((entry)->expires_s != (life)->expires_s)          \
			(entry)->expires_s = (life)->expires_s;       \
		if ((entry)->flags != (life)->flags)                  \
			(entry)->flags = (life)->flags;               \
		if ((entry)->tx_tcp_flags != (life)->tx_tcp_flags)    \
			(entry)->tx_tcp_flags = (life)->tx_tcp_flags; \
		if ((entry)->rx_tcp_flags != (life)->rx_tcp_flags)    \
			(entry)->rx_tcp_flags = (life)->rx_tcp_flags; \
	} while (0)

/* An ICMP error about a flow says nothing of its life. */
static __always_inline void ct_note(struct __sk_buff *skb, struct ct_entry *entry,
				    const struct tuple *tuple, bool is_reply, __u32 now)
{
	struct life life = read_life(entry);

	if (tuple->kind == TUPLE_ICMP_ERROR)
		return;
	live_on(&life, tuple, is_reply, now);
	write_life(entry, &life);
	__sync_fetch_and_add(&entry->packets, 1);
	__sync_fetch_and_add(&entry->bytes, skb->len);
}

/* Completes a new entry by the flow's first packet and puts it into its map. 0 or a drop. */
static __always_inline int ct_insert(struct __sk_buff *skb, const struct ct_key *key,
				     struct ct_entry *entry, const struct tuple *tuple, __u32 now)
{
	struct life life = { .flags = entry->flags };
	int error;

	live_on(&life, tuple, false, now);
	write_life(entry, &life);
	entry->packets = 1;
	entry->bytes = skb->len;
	if (key->l4_proto == IPPROTO_TCP)
		error = bpf_map_update_elem(&cilium_ct4_global, key, entry, BPF_ANY);
	else
		error = bpf_map_update_elem(&cilium_ct_any4_global, key, entry, BPF_ANY);
	return error < 0 ? DROP(SOURCE_CONNTRACK_H, DROP_CT_INSERT) : 0;
}
