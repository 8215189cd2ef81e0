/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a TCP socket asked for, in a slot that is its own until it is closed. Cookies of sockets follow one another, so
 * slots of new ones lie side by side; a hash table spreads them over a megabyte, and every connection pays for memory
 * that no cache has.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "maps.h"

#define SOCKET_SLOTS 65536 /* as far as the map has them; sockets beyond have none */

static __always_inline struct lb4_socket *slot_of(__u64 cookie)
{
	__u32 index = cookie % SOCKET_SLOTS;

	return bpf_map_lookup_elem(&cilium_lb4_sockets, &index);
}

/* The socket's slot, claimed when it is free; NULL while another socket has it. Nobody else writes to it from then on. */
static __always_inline struct lb4_socket *claim_slot(__u64 cookie)
{
	struct lb4_socket *slot = slot_of(cookie);

	if (!slot || slot->socket_cookie == cookie)
		return slot;
	if (slot->socket_cookie || __sync_val_compare_and_swap(&slot->socket_cookie, 0, cookie))
		return NULL;
	return slot;
}

/* Repeatable. */
static __always_inline void free_slot(__u64 cookie)
{
	struct lb4_socket *slot = slot_of(cookie);

	if (slot && slot->socket_cookie == cookie)
		slot->socket_cookie = 0;
}
