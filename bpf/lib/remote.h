/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Destinations that are no endpoint of this node. */
#pragma once

#include "config.h"
#include "endpoint.h"
#include "verdict.h"

/* What the ipcache alone forbids. Sending on either of these would only come back, or leave the cluster. */
static __always_inline int refuse_unreachable(const struct ipcache_info *remote)
{
	if (!remote)
		return 0;
	if (remote->flags & IPCACHE_F_OWN_PODCIDR)
		return DROP(SOURCE_REMOTE_H, DROP_UNROUTABLE);
	if (cfg_tunnel && remote->flags & IPCACHE_F_CLUSTER && !remote->tunnel_endpoint)
		return DROP(SOURCE_REMOTE_H, DROP_NO_TUNNEL_ENDPOINT);
	return 0;
}

static __always_inline bool via_neighbour(const struct ipcache_info *remote)
{
	return remote && remote->flags & IPCACHE_F_NEIGHBOUR;
}

static __always_inline bool behind_tunnel(const struct ipcache_info *remote)
{
	return cfg_tunnel && remote && remote->tunnel_endpoint;
}
