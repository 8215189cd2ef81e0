/* SPDX-License-Identifier: Apache-2.0 */
/* Consumer of a BPF ring buffer on the event loop. */
#include <cerrno>
#include <climits>
#include <memory>
#include <optional>

#include <bpf/libbpf.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"
#include "poller.h"

namespace fimbria
{

/* libbpf's consumer and the map it maps into memory. */
struct Ring {
	struct ring_buffer *ring = nullptr;
	SharedFd map;

	~Ring()
	{
		ring_buffer__free(ring);
	}
};

class RingBuffer : public Napi::ObjectWrap<RingBuffer>
{
      public:
	explicit RingBuffer(const Napi::CallbackInfo &info) : Napi::ObjectWrap<RingBuffer>(info)
	{
		Guarded(info.Env(), [&] { Start(info); });
	}

	static Napi::Value Open(const Napi::CallbackInfo &info)
	{
		Handle &map = Handle::From(info[0], Kind::kMap, "consume");
		if (!info[2].IsFunction())
			throw Failure("EINVAL", "consume", "ring buffer",
				      "the callback is no function");
		AddonData &data = AddonData::Of(info.Env());
		SharedFd fd = map.shared();
		data.pending = &fd;
		return data.ring_buffer_class.New({ info[1], info[2] });
	}

	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "RingBuffer",
				   { InstanceMethod<&RingBuffer::Poll>("poll"),
				     InstanceMethod<&RingBuffer::Close>("close"),
				     InstanceMethod<&RingBuffer::RefLoop>("ref"),
				     InstanceMethod<&RingBuffer::UnrefLoop>("unref") });
	}

      private:
	void Start(const Napi::CallbackInfo &info)
	{
		AddonData &data = AddonData::Of(info.Env());
		auto *pending = static_cast<SharedFd *>(data.pending);
		data.pending = nullptr;
		if (!pending)
			throw Failure("EPERM", "construct", "ring buffer", "use ringBufferOpen");
		batch_ = Uint32Of(info[0], "batch");
		if (!batch_)
			throw Failure("EINVAL", "use", "batch", "it is 0");
		ring_ = std::make_shared<Ring>();
		ring_->map = *pending;
		ring_->ring = ring_buffer__new((*pending)->get(), OnSample, this, nullptr);
		if (!ring_->ring)
			throw Refused(errno, "consume", "ring buffer");
		callback_ = Napi::Persistent(info[1].As<Napi::Function>());
		poller_ = new Poller(
			info.Env(), ring_buffer__epoll_fd(ring_->ring), ring_,
			[this] { Consume(batch_); }, [this] { End(); });
		Ref();
	}

	/* Delivers up to `limit` samples; what the callback throws comes out when libbpf's books are in order. */
	uint32_t Consume(uint32_t limit)
	{
		if (busy_)
			throw Failure("EBUSY", "poll", "ring buffer",
				      "a sample of it is being delivered");
		if (!poller_)
			throw Failure("EBADF", "poll", "ring buffer", "it was closed");
		std::shared_ptr<Ring> held = ring_;
		busy_ = true;
		left_ = limit;
		int err = ring_buffer__consume(held->ring);
		busy_ = false;
		if (thrown_) {
			Napi::Error error = *thrown_;
			thrown_.reset();
			throw error;
		}
		/* ECANCELED is our own way of stopping. */
		if (err < 0 && err != -ECANCELED)
			throw Refused(-err, "consume", "ring buffer");
		return limit - left_;
	}

	/* libbpf has taken the sample off the ring when this returns, also when it says stop. */
	static int OnSample(void *context, void *data, size_t size)
	{
		RingBuffer *self = static_cast<RingBuffer *>(context);
		Napi::Env env = self->Env();
		Napi::HandleScope scope(env);
		self->left_--;
		try {
			self->callback_.Call({ BufferOf(env, data, size) });
		} catch (const Napi::Error &error) {
			self->thrown_ = error;
		} catch (const std::exception &error) {
			self->thrown_ =
				ToJs(env, Failure("EIO", "deliver", "sample", error.what()));
		}
		return self->thrown_ || !self->left_ || !self->poller_ ? -ECANCELED : 0;
	}

	void End()
	{
		if (!poller_)
			return;
		poller_->Stop();
		poller_ = nullptr;
		ring_.reset();
		callback_.Reset();
		Unref();
	}

	Napi::Value Poll(const Napi::CallbackInfo &info)
	{
		return Guarded(info.Env(), [&]() -> Napi::Value {
			return Napi::Number::New(info.Env(), Consume(UINT32_MAX));
		});
	}

	Napi::Value Close(const Napi::CallbackInfo &info)
	{
		End();
		return info.Env().Undefined();
	}

	Napi::Value RefLoop(const Napi::CallbackInfo &info)
	{
		if (poller_)
			poller_->Ref();
		return info.Env().Undefined();
	}

	Napi::Value UnrefLoop(const Napi::CallbackInfo &info)
	{
		if (poller_)
			poller_->Unref();
		return info.Env().Undefined();
	}

	std::shared_ptr<Ring> ring_;
	Poller *poller_ = nullptr;
	Napi::FunctionReference callback_;
	uint32_t batch_ = 0;
	uint32_t left_ = 0;
	bool busy_ = false;
	std::optional<Napi::Error> thrown_;
};

void RegisterRingBuffer(Napi::Env env, AddonData &data, Napi::Object exports)
{
	data.ring_buffer_class = Napi::Persistent(RingBuffer::Define(env));
	exports.Set("ringBufferOpen", Napi::Function::New<Callback<RingBuffer::Open>>(env));
}

} // namespace fimbria
