/* SPDX-License-Identifier: Apache-2.0 */
/* Owned file descriptors, and the JavaScript object that holds one. */
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <napi.h>

namespace fimbria
{

/* A descriptor that is closed with its last owner. Native work in progress is an owner, too. */
class OwnedFd
{
      public:
	explicit OwnedFd(int fd) : fd_(fd)
	{
	}
	~OwnedFd();
	OwnedFd(const OwnedFd &) = delete;
	OwnedFd &operator=(const OwnedFd &) = delete;

	int get() const
	{
		return fd_;
	}

	/* Gives the descriptor away. */
	int release()
	{
		int fd = fd_;
		fd_ = -1;
		return fd;
	}

      private:
	int fd_;
};

using SharedFd = std::shared_ptr<OwnedFd>;

/* Takes over a descriptor; a negative one is refused with errno. */
SharedFd Own(int fd, const char *op, const std::string &object);

/* A second descriptor of the same thing, CLOEXEC. */
SharedFd Duplicate(int fd, const char *op, const std::string &object);

enum class Kind {
	kMap,
	kProgram,
	kLink,
	kSocket,
	kNetns,
	kStats
};

const char *KindName(Kind kind);

/* Sizes that bound what the kernel reads and writes in a map operation. */
struct MapShape {
	uint32_t key_bytes = 0;
	/* round_up(value_size, 8) for each possible CPU in per-CPU maps. */
	uint32_t value_bytes = 0;
	std::string name;
};

class Handle : public Napi::ObjectWrap<Handle>
{
      public:
	explicit Handle(const Napi::CallbackInfo &info);

	/* Wraps a descriptor for JavaScript. A map's shape is read from the kernel. */
	static Napi::Object New(Napi::Env env, Kind kind, SharedFd fd);

	/* Opens the pin that the first argument names; it must be of that kind. */
	static Napi::Value OpenPin(const Napi::CallbackInfo &info, Kind kind);

	/* The handle in an argument: of that kind, and open. */
	static Handle &From(const Napi::Value &value, Kind kind, const char *op);
	/* The same for several kinds. */
	static Handle &From(const Napi::Value &value, const char *op);

	Kind kind() const
	{
		return kind_;
	}
	int fd() const
	{
		return fd_->get();
	}
	const SharedFd &shared() const
	{
		return fd_;
	}
	const MapShape &shape() const
	{
		return shape_;
	}

	static Napi::Function Define(Napi::Env env);

      private:
	struct Pending {
		Kind kind;
		SharedFd fd;
	};

	Napi::Value Fd(const Napi::CallbackInfo &info);
	Napi::Value Closed(const Napi::CallbackInfo &info);
	Napi::Value Close(const Napi::CallbackInfo &info);
	Napi::Value Release(const Napi::CallbackInfo &info);

	Kind kind_ = Kind::kMap;
	SharedFd fd_;
	MapShape shape_;
};

} // namespace fimbria
