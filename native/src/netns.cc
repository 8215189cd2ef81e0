/* SPDX-License-Identifier: Apache-2.0 */
#include "netns.h"

#include <cerrno>
#include <exception>
#include <fcntl.h>
#include <sched.h>
#include <cstdint>
#include <sys/mount.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "task.h"

namespace fimbria
{

static const char kThreadNetns[] = "/proc/thread-self/ns/net";

void RunOnThread(const std::function<void()> &work)
{
	std::exception_ptr thrown;
	std::thread thread([&] {
		try {
			work();
		} catch (...) {
			thrown = std::current_exception();
		}
	});
	thread.join();
	if (thrown)
		std::rethrow_exception(thrown);
}

void RunInNetns(const SharedFd &netns, const std::function<void()> &work)
{
	if (!netns) {
		work();
		return;
	}
	RunOnThread([&] {
		if (setns(netns->get(), CLONE_NEWNET))
			throw Refused(errno, "enter", "network namespace");
		work();
	});
}

/* A promise without a value. */
static Napi::Value Promise(Napi::Env env, std::function<void()> work)
{
	return Task<bool>::Start(
		env,
		[work] {
			work();
			return true;
		},
		[](Napi::Env done, bool &) { return done.Undefined(); });
}

static void EnterNew()
{
	if (unshare(CLONE_NEWNET))
		throw Refused(errno, "create", "network namespace");
}

static Napi::Value NetnsCreate(const Napi::CallbackInfo &info)
{
	return Task<SharedFd>::Start(
		info.Env(),
		[] {
			SharedFd fd;
			RunOnThread([&] {
				EnterNew();
				fd = Own(open(kThreadNetns, O_RDONLY | O_CLOEXEC), "open",
					 "network namespace");
			});
			return fd;
		},
		[](Napi::Env env, SharedFd &fd) {
			return Handle::New(env, Kind::kNetns, std::move(fd));
		});
}

static Napi::Value NetnsBind(const Napi::CallbackInfo &info)
{
	std::string path = StringOf(info[0], "path");
	SharedFd netns = NetnsOf(info[1]);
	return Promise(info.Env(), [path, netns] {
		RunOnThread([&] {
			std::string source = kThreadNetns;
			if (netns)
				source = "/proc/thread-self/fd/" + std::to_string(netns->get());
			else
				EnterNew();
			if (mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr))
				throw Refused(errno, "mount", "network namespace on " + path);
		});
	});
}

/* Of the namespace that the process is in: what programs at sockets tell namespaces by. Linux 5.14. */
static Napi::Value NetnsCookie(const Napi::CallbackInfo &info)
{
	SharedFd fd = Own(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "open", "socket");
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	if (getsockopt(fd->get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size))
		throw Refused(errno, "read", "cookie of the network namespace");
	return Napi::BigInt::New(info.Env(), cookie);
}

static Napi::Value Unmount(const Napi::CallbackInfo &info)
{
	std::string path = StringOf(info[0], "path");
	return Promise(info.Env(), [path] {
		if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW))
			throw Refused(errno, "unmount", path);
	});
}

static Napi::Value Mount(const Napi::CallbackInfo &info)
{
	std::string source = StringOf(info[0], "mount source");
	std::string target = StringOf(info[1], "mount target");
	std::string type = StringOf(info[2], "file system type");
	return Promise(info.Env(), [=] {
		if (mount(source.c_str(), target.c_str(), type.c_str(), 0, nullptr))
			throw Refused(errno, "mount", type + " on " + target);
	});
}

static Napi::Value WriteFileIn(const Napi::CallbackInfo &info)
{
	std::string path = StringOf(info[0], "path");
	std::string text = StringOf(info[1], "text");
	SharedFd netns = NetnsOf(info[2]);
	return Promise(info.Env(), [=] {
		RunInNetns(netns, [&] {
			SharedFd file =
				Own(open(path.c_str(), O_WRONLY | O_CLOEXEC), "write", path);
			ssize_t written = write(file->get(), text.data(), text.size());
			if (written != static_cast<ssize_t>(text.size()))
				throw Refused(written < 0 ? errno : EIO, "write", path);
		});
	});
}

static Napi::Value ReadFileIn(const Napi::CallbackInfo &info)
{
	std::string path = StringOf(info[0], "path");
	SharedFd netns = NetnsOf(info[1]);
	return Task<std::string>::Start(
		info.Env(),
		[=] {
			std::string text;
			RunInNetns(netns, [&] {
				SharedFd file =
					Own(open(path.c_str(), O_RDONLY | O_CLOEXEC), "read", path);
				char chunk[4096];
				ssize_t got;
				while ((got = read(file->get(), chunk, sizeof(chunk))) > 0)
					text.append(chunk, got);
				if (got < 0)
					throw Refused(errno, "read", path);
			});
			return text;
		},
		[](Napi::Env env, std::string &text) { return Napi::String::New(env, text); });
}

void RegisterNetns(Napi::Env env, Napi::Object exports)
{
	exports.Set("netnsCreate", Napi::Function::New<Callback<NetnsCreate>>(env));
	exports.Set("netnsBind", Napi::Function::New<Callback<NetnsBind>>(env));
	exports.Set("netnsCookie", Napi::Function::New<Callback<NetnsCookie>>(env));
	exports.Set("unmount", Napi::Function::New<Callback<Unmount>>(env));
	exports.Set("mount", Napi::Function::New<Callback<Mount>>(env));
	exports.Set("writeFileIn", Napi::Function::New<Callback<WriteFileIn>>(env));
	exports.Set("readFileIn", Napi::Function::New<Callback<ReadFileIn>>(env));
}

} // namespace fimbria
