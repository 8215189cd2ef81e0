/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who asks from outside by a pod's own address is answered by it: masquerade
 * leaves such answers alone. Cilium tells by conntrack as well (ct_is_reply4 in
 * bpf/lib/nat.h).
 */
#pragma once

#include "endpoint.h"
#include "nat_entry.h"
#include "own_address.h"

/* Where the pod has a policy for what comes in, that remembers the flow. 0 or a drop. */
static __noinline int remember_caller(struct __sk_buff *skb, struct tuple *tuple)
{
	struct ct_entry *entry, fresh = {};
	struct nat_key left;
	struct ct_key key;

	need_tuple(skb, tuple);
	if (tuple->kind != TUPLE_FLOW || tuple->key.l4_proto == IPPROTO_ICMP)
		return 0;
	set_key(&key, &tuple->key, CT_INGRESS);
	entry = ct_find(&key, tuple->now_s);
	if (entry) {
		ct_note(skb, entry, tuple, false, tuple->now_s);
		return 0;
	}
	/* The pod's own flow goes on in the node's name, whoever pretends to answer it here. */
	set_reverse_key(&left, &tuple->key, NAT_OUT);
	if (nat_find(&left, tuple->now_s))
		return 0;
	return ct_insert(skb, &key, &fresh, tuple, tuple->now_s);
}

static __always_inline bool is_caller(const struct endpoint_info *destination, __be32 source)
{
	return cfg_masquerade && !(destination->flags & ENDPOINT_F_POLICY_INGRESS) &&
	       !sees_own_address(source, lookup_ipcache(source));
}

/* Whether this answers, or is an error about, a flow that somebody outside has begun by the pod's own address. */
static __always_inline bool answers_caller(struct __sk_buff *skb, const struct tuple *tuple)
{
	struct ct_entry *entry;
	struct ct_key key;

	if (!is_flow(tuple))
		return false;
	set_reverse_key(&key, &tuple->key, CT_INGRESS);
	entry = ct_find(&key, tuple->now_s);
	if (!entry || entry->nat_address)
		return false;
	/* Policy has noted what it let through. */
	if (!(entry->flags & CT_F_ALLOWED))
		ct_note(skb, entry, tuple, true, tuple->now_s);
	return true;
}
