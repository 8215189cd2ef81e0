/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services at the socket: a client that asks for a frontend is connected to a
 * backend, once for a connection, and sees the frontend's address all the same.
 * Attached to the node's cgroup, so that pods and the node itself are served.
 * IPv4, also as ::ffff:0:0/96.
 */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/config.h"
#include "lib/service.h"
#include "lib/socket_slot.h"
#include "lib/socket_trace.h"

#define SOCK_REJECT  0
#define SOCK_PROCEED 1
#define EHOSTUNREACH 113

#define LOOPBACK_NET	 127
#define V4_MAPPED_PREFIX bpf_htonl(0xffff)

/* Addresses of nodes, and loopback: where a node port is listened on. */
static __always_inline bool is_node_address(__be32 address)
{
	struct ipcache_key key = { .prefixlen = 32, .ipv4 = address };
	const struct ipcache_info *info;

	if ((bpf_ntohl(address) >> 24) == LOOPBACK_NET)
		return true;
	info = bpf_map_lookup_elem(&cilium_ipcache, &key);
	return info && (info->identity == IDENTITY_HOST || info->identity == IDENTITY_REMOTE_NODE);
}

/* A node port is reached by the address of any node; its entry under 0.0.0.0 stands for all of them. */
static __always_inline const struct lb4_service *lookup_frontend(struct lb4_key *key)
{
	const struct lb4_service *service = lookup_service(key);
	__be32 address = key->address;

	if (service || !address)
		return service;
	key->address = 0;
	service = lookup_service(key);
	return service && is_node_address(address) ? service : NULL;
}

/* What the socket is shown from now on instead of the backend. */
static __always_inline void remember_frontend(struct bpf_sock_addr *ctx,
					      const struct lb4_backend *backend, __be32 address,
					      __be16 port, __u32 rev_nat_index)
{
	struct lb4_reverse_sk_key key = {
		.socket_cookie = bpf_get_socket_cookie(ctx),
		.address = backend->address,
		.port = backend->port,
	};
	struct lb4_reverse_sk frontend = {
		.address = address,
		.port = port,
		.rev_nat_index = rev_nat_index,
	};
	const struct lb4_reverse_sk *known;
	struct lb4_socket *slot;

	if (ctx->protocol == IPPROTO_TCP) {
		slot = claim_slot(key.socket_cookie);
		if (slot) {
			slot->backend_address = backend->address;
			slot->backend_port = backend->port;
			slot->address = address;
			slot->port = port;
			slot->rev_nat_index = rev_nat_index;
			return;
		}
	}
	known = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &key);
	/* A datagram after the other says the same. */
	if (known && known->address == address && known->port == port &&
	    known->rev_nat_index == rev_nat_index)
		return;
	bpf_map_update_elem(&cilium_lb4_reverse_sk, &key, &frontend, BPF_ANY);
}

/*
 * From *address and *port as the client asks for them to those of a backend.
 * 1 when they are another's now, 0 when nobody's service, negative to refuse.
 */
static __always_inline int translate(struct bpf_sock_addr *ctx, __be32 *address, __be16 *port)
{
	struct lb4_key key = { .address = *address, .dport = *port, .l4_proto = ctx->protocol };
	struct lb4_affinity_key client = { .is_netns_cookie = 1 };
	const struct lb4_backend *backend = NULL;
	const struct lb4_service *service;
	__u32 backend_id = 0;
	bool watched;

	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return 0;
	if (cfg_socket_netns && bpf_get_netns_cookie(ctx) != cfg_socket_netns)
		return 0;
	service = lookup_frontend(&key);
	if (!service)
		return 0;
	watched = is_tracing();
	if (watched)
		trace_socket(ctx, XLATE_PRE_FWD, *address, *port);
	if (service->flags & LB_F_AFFINITY) {
		client.client = bpf_get_netns_cookie(ctx);
		client.rev_nat_index = service->rev_nat_index;
		backend = remembered_backend(service, &client);
	}
	if (!backend) {
		backend = random_backend(&key, service, &backend_id);
		if (!backend)
			return -EHOSTUNREACH;
		if (service->flags & LB_F_AFFINITY)
			remember_backend(&client, backend_id);
	}
	remember_frontend(ctx, backend, *address, *port, service->rev_nat_index);
	*address = backend->address;
	*port = backend->port;
	if (watched)
		trace_socket(ctx, XLATE_POST_FWD, *address, *port);
	return 1;
}

static __always_inline int refuse(int error)
{
	if (cfg_set_retval)
		bpf_set_retval(error);
	return SOCK_REJECT;
}

/* What a socket asked for, when this backend was given for it. */
static __always_inline bool find_frontend(const struct lb4_reverse_sk_key *key, __u32 l4_proto,
					  __be32 *address, __be16 *port)
{
	const struct lb4_reverse_sk *frontend;
	const struct lb4_socket *slot;

	if (l4_proto == IPPROTO_TCP) {
		slot = slot_of(key->socket_cookie);
		if (slot && slot->socket_cookie == key->socket_cookie &&
		    slot->backend_address == key->address && slot->backend_port == key->port) {
			*address = slot->address;
			*port = slot->port;
			return true;
		}
	}
	frontend = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, key);
	if (!frontend)
		return false;
	*address = frontend->address;
	*port = frontend->port;
	return true;
}

/* To the frontend that a socket asked for, when this backend was given for it. */
static __always_inline bool translate_back(struct bpf_sock_addr *ctx, __be32 *address, __be16 *port)
{
	struct lb4_reverse_sk_key key = {
		.socket_cookie = bpf_get_socket_cookie(ctx),
		.address = *address,
		.port = *port,
	};

	if (!find_frontend(&key, ctx->protocol, address, port))
		return false;
	if (is_tracing()) {
		trace_socket(ctx, XLATE_PRE_REV, key.address, key.port);
		trace_socket(ctx, XLATE_POST_REV, *address, *port);
	}
	return true;
}

static __always_inline int forward4(struct bpf_sock_addr *ctx)
{
	__be32 address = ctx->user_ip4;
	__be16 port = ctx->user_port;
	int verdict = translate(ctx, &address, &port);

	if (verdict < 0)
		return refuse(verdict);
	if (verdict > 0) {
		ctx->user_ip4 = address;
		ctx->user_port = port;
	}
	return SOCK_PROCEED;
}

static __always_inline void reverse4(struct bpf_sock_addr *ctx)
{
	__be32 address = ctx->user_ip4;
	__be16 port = ctx->user_port;

	if (translate_back(ctx, &address, &port)) {
		ctx->user_ip4 = address;
		ctx->user_port = port;
	}
}

static __always_inline bool is_mapped(const struct bpf_sock_addr *ctx)
{
	return !ctx->user_ip6[0] && !ctx->user_ip6[1] && ctx->user_ip6[2] == V4_MAPPED_PREFIX;
}

static __always_inline int forward6(struct bpf_sock_addr *ctx)
{
	__be32 address;
	__be16 port;
	int verdict;

	if (!is_mapped(ctx))
		return SOCK_PROCEED;
	address = ctx->user_ip6[3];
	port = ctx->user_port;
	verdict = translate(ctx, &address, &port);
	if (verdict < 0)
		return refuse(verdict);
	if (verdict > 0) {
		ctx->user_ip6[3] = address;
		ctx->user_port = port;
	}
	return SOCK_PROCEED;
}

static __always_inline void reverse6(struct bpf_sock_addr *ctx)
{
	__be32 address;
	__be16 port;

	if (!is_mapped(ctx))
		return;
	address = ctx->user_ip6[3];
	port = ctx->user_port;
	if (translate_back(ctx, &address, &port)) {
		ctx->user_ip6[3] = address;
		ctx->user_port = port;
	}
}

SEC("cgroup/sock_release")
int cil_sock_release(struct bpf_sock *ctx)
{
	if (ctx->protocol == IPPROTO_TCP)
		free_slot(bpf_get_socket_cookie(ctx));
	return SOCK_PROCEED;
}

SEC("cgroup/connect4")
int cil_sock4_connect(struct bpf_sock_addr *ctx)
{
	return forward4(ctx);
}

SEC("cgroup/sendmsg4")
int cil_sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward4(ctx);
}

SEC("cgroup/recvmsg4")
int cil_sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	reverse4(ctx);
	return SOCK_PROCEED;
}

SEC("cgroup/getpeername4")
int cil_sock4_getpeername(struct bpf_sock_addr *ctx)
{
	reverse4(ctx);
	return SOCK_PROCEED;
}

SEC("cgroup/connect6")
int cil_sock6_connect(struct bpf_sock_addr *ctx)
{
	return forward6(ctx);
}

SEC("cgroup/sendmsg6")
int cil_sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward6(ctx);
}

SEC("cgroup/recvmsg6")
int cil_sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	reverse6(ctx);
	return SOCK_PROCEED;
}

SEC("cgroup/getpeername6")
int cil_sock6_getpeername(struct bpf_sock_addr *ctx)
{
	reverse6(ctx);
	return SOCK_PROCEED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
