/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services for pods whose sockets nobody translates: what a pod sends, and what it gets back. */
#pragma once

#include "lb.h"
#include "reply.h"

enum pod_lb_answer {
	POD_LB_NONE = 0,
	POD_LB_TRANSLATED = 1,
	POD_LB_SELF = 2, /* the backend is the pod itself */
};

/* From itself, by way of a service: the pod knows the loopback address as its peer, both ways. */
static __always_inline int answer_to_self(struct __sk_buff *skb, struct tuple *tuple)
{
	__be32 pod = tuple->key.saddr;
	int answer = reply_from_service(skb, tuple, CT_EGRESS);

	if (answer <= 0)
		return answer;
	return rewrite(skb, tuple, END_DESTINATION, pod, tuple->key.dport) ?: POD_LB_SELF;
}

/* A pod's packet, to a backend when it is for a service. Pointers into the packet are stale then. */
static __noinline int pod_to_service(struct __sk_buff *skb, struct tuple *tuple)
{
	__be32 client = tuple->key.saddr;
	struct lb_choice choice;
	__u32 flags = 0;
	int answer;

	if (tuple->key.daddr == CT_LOOPBACK_ADDRESS)
		return answer_to_self(skb, tuple);
	answer = lb_choose(skb, tuple, &choice, LB_CLIENT_INSIDE);
	if (answer != LB_CHOSEN)
		return answer;
	if (choice.backend == client) {
		flags = CT_F_LOOPBACK;
		answer = rewrite(skb, tuple, END_SOURCE, CT_LOOPBACK_ADDRESS, tuple->key.sport);
		if (answer)
			return answer;
	}
	answer = rewrite(skb, tuple, END_DESTINATION, choice.backend, choice.backend_port);
	if (answer)
		return answer;
	answer = lb_track(skb, tuple, &choice, client, CT_EGRESS | flags << 8);
	if (answer)
		return answer;
	tuple->to_service = 1;
	return flags ? POD_LB_SELF : POD_LB_TRANSLATED;
}
