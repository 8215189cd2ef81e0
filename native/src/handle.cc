/* SPDX-License-Identifier: Apache-2.0 */
#include "handle.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "addon.h"
#include "args.h"
#include "failure.h"

namespace fimbria
{

static constexpr napi_type_tag kHandleTag = { 0x6b1f0f3a52c44d0eULL, 0x9d7ea1b4c1f70a11ULL };

OwnedFd::~OwnedFd()
{
	if (fd_ >= 0)
		close(fd_);
}

SharedFd Own(int fd, const char *op, const std::string &object)
{
	if (fd < 0)
		throw Refused(errno, op, object);
	return std::make_shared<OwnedFd>(fd);
}

SharedFd Duplicate(int fd, const char *op, const std::string &object)
{
	return Own(fcntl(fd, F_DUPFD_CLOEXEC, 3), op, object);
}

const char *KindName(Kind kind)
{
	switch (kind) {
	case Kind::kMap:
		return "map";
	case Kind::kProgram:
		return "program";
	case Kind::kLink:
		return "link";
	case Kind::kSocket:
		return "socket";
	case Kind::kNetns:
		return "network namespace";
	case Kind::kStats:
		return "statistics";
	}
	return "handle";
}

static bool IsPerCpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static MapShape ShapeOf(int fd)
{
	struct bpf_map_info info = {};
	uint32_t length = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		throw Refused(errno, "inspect", "map");
	MapShape shape;
	shape.key_bytes = info.key_size;
	shape.value_bytes = info.value_size;
	shape.name = std::string(info.name, strnlen(info.name, sizeof(info.name)));
	if (IsPerCpu(info.type)) {
		int cpus = libbpf_num_possible_cpus();
		if (cpus < 0)
			throw Refused(-cpus, "count", "possible CPUs");
		shape.value_bytes = (info.value_size + 7) / 8 * 8 * cpus;
	}
	return shape;
}

Handle::Handle(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Handle>(info)
{
	Guarded(info.Env(), [&] {
		AddonData &data = AddonData::Of(info.Env());
		Pending *pending = static_cast<Pending *>(data.pending);
		data.pending = nullptr;
		if (!pending)
			throw Failure("EPERM", "construct", "handle",
				      "only the addon makes handles");
		kind_ = pending->kind;
		fd_ = pending->fd;
		if (kind_ == Kind::kMap)
			shape_ = ShapeOf(fd_->get());
		info.This().As<Napi::Object>().TypeTag(&kHandleTag);
	});
}

Napi::Object Handle::New(Napi::Env env, Kind kind, SharedFd fd)
{
	AddonData &data = AddonData::Of(env);
	Pending pending{ kind, std::move(fd) };
	data.pending = &pending;
	return data.handle_class.New({});
}

/* Maps, programs and links share one call for their facts; only /proc tells which one it is. */
static bool IsKind(int fd, Kind kind)
{
	char path[64], target[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		throw Refused(errno, "inspect", path);
	target[length] = '\0';
	/* A link is "bpf_link" in the descriptor that made it and "bpf-link" when opened from a pin. */
	if (kind == Kind::kLink)
		return strstr(target, "bpf_link") || strstr(target, "bpf-link");
	return strstr(target, kind == Kind::kMap ? "bpf-map" : "bpf-prog") != nullptr;
}

Napi::Value Handle::OpenPin(const Napi::CallbackInfo &info, Kind kind)
{
	std::string path = StringOf(info[0], "path");
	std::string object = std::string(KindName(kind)) + " " + path;
	SharedFd fd = Own(bpf_obj_get(path.c_str()), "open", object);
	if (!IsKind(fd->get(), kind))
		throw Failure("EINVAL", "open", object, "the pin holds something else");
	return New(info.Env(), kind, fd);
}

Handle &Handle::From(const Napi::Value &value, const char *op)
{
	if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kHandleTag))
		throw Failure("EINVAL", op, "handle", "the argument is no handle of this addon");
	Handle *handle = Handle::Unwrap(value.As<Napi::Object>());
	if (!handle->fd_)
		throw Failure("EBADF", op, KindName(handle->kind_), "it was closed");
	return *handle;
}

Handle &Handle::From(const Napi::Value &value, Kind kind, const char *op)
{
	Handle &handle = From(value, op);
	if (handle.kind_ != kind)
		throw Failure("EINVAL", op, KindName(kind),
			      std::string("the argument is a ") + KindName(handle.kind_));
	return handle;
}

Napi::Value Handle::Fd(const Napi::CallbackInfo &info)
{
	return Guarded(info.Env(), [&]() -> Napi::Value {
		if (!fd_)
			throw Failure("EBADF", "use", KindName(kind_), "it was closed");
		return Napi::Number::New(info.Env(), fd_->get());
	});
}

Napi::Value Handle::Closed(const Napi::CallbackInfo &info)
{
	return Napi::Boolean::New(info.Env(), !fd_);
}

Napi::Value Handle::Close(const Napi::CallbackInfo &info)
{
	fd_.reset();
	return info.Env().Undefined();
}

Napi::Value Handle::Release(const Napi::CallbackInfo &info)
{
	return Guarded(info.Env(), [&]() -> Napi::Value {
		if (!fd_)
			throw Failure("EBADF", "release", KindName(kind_), "it was closed");
		/* Somebody else still works with the descriptor: the caller gets one of its own. */
		SharedFd fd = fd_.use_count() == 1
				      ? fd_
				      : Duplicate(fd_->get(), "release", KindName(kind_));
		fd_.reset();
		return Napi::Number::New(info.Env(), fd->release());
	});
}

Napi::Function Handle::Define(Napi::Env env)
{
	return DefineClass(env, "Handle",
			   { InstanceAccessor<&Handle::Fd>("fd", napi_enumerable),
			     InstanceAccessor<&Handle::Closed>("closed", napi_enumerable),
			     InstanceMethod<&Handle::Close>("close"),
			     InstanceMethod<&Handle::Release>("release") });
}

void RegisterHandle(Napi::Env env, AddonData &data)
{
	data.handle_class = Napi::Persistent(Handle::Define(env));
}

} // namespace fimbria
