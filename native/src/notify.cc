/* SPDX-License-Identifier: Apache-2.0 */
/* One datagram to a unix socket: how a service manager is told of READY=1. Node has no such sockets. */
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"

namespace fimbria
{

/* Does not wait: a reader whose queue is full is EAGAIN. */
static Napi::Value UnixDatagramSend(const Napi::CallbackInfo &info)
{
	std::string path = StringOf(info[0], "path");
	Bytes message = BytesOf(info[1], "message");
	struct sockaddr_un address = {};
	address.sun_family = AF_UNIX;
	if (path.empty() || path.size() >= sizeof(address.sun_path))
		throw Failure("ENAMETOOLONG", "notify", path, "a socket's path has 1 to 107 bytes");
	memcpy(address.sun_path, path.data(), path.size());
	/* As systemd writes it, an @ stands for the zero byte of an abstract name. */
	if (path[0] == '@')
		address.sun_path[0] = 0;
	SharedFd fd = Own(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "open",
			  "datagram socket");
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + path.size();
	if (sendto(fd->get(), message.data, message.size, MSG_NOSIGNAL,
		   reinterpret_cast<struct sockaddr *>(&address), size) < 0)
		throw Refused(errno, "notify", path);
	return info.Env().Undefined();
}

void RegisterNotify(Napi::Env env, Napi::Object exports)
{
	exports.Set("unixDatagramSend", Napi::Function::New<Callback<UnixDatagramSend>>(env));
}

} // namespace fimbria
