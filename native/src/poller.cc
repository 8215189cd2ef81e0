/* SPDX-License-Identifier: Apache-2.0 */
#include "poller.h"

#include <node_api.h>

#include "addon.h"
#include "args.h"
#include "failure.h"

namespace fimbria
{

Poller::Poller(Napi::Env env, int fd, std::shared_ptr<void> keep, std::function<void()> on_ready,
	       std::function<void()> on_exit)
	: env_(env), context_(new Napi::AsyncContext(env, "fimbria")), keep_(std::move(keep)),
	  on_ready_(std::move(on_ready)), on_exit_(std::move(on_exit))
{
	uv_loop_t *loop = nullptr;
	if (napi_get_uv_event_loop(env, &loop) != napi_ok)
		throw Failure("EIO", "watch", "descriptor", "there is no event loop");
	int err = uv_poll_init(loop, &poll_, fd);
	if (err)
		throw Refused(-err, "watch", "descriptor");
	poll_.data = this;
	uv_poll_start(&poll_, UV_READABLE, OnPoll);
	napi_add_async_cleanup_hook(env, OnExit, this, &hook_);
}

void Poller::Ref()
{
	uv_ref(reinterpret_cast<uv_handle_t *>(&poll_));
}

void Poller::Unref()
{
	uv_unref(reinterpret_cast<uv_handle_t *>(&poll_));
}

void Poller::OnPoll(uv_poll_t *poll, int status, int)
{
	Poller *self = static_cast<Poller *>(poll->data);
	Napi::Env env = self->env_;
	Napi::HandleScope scope(env);
	/* An error on the socket stops libuv's polling. Reading takes the error off, so begin again. */
	if (status < 0)
		uv_poll_start(poll, UV_READABLE, OnPoll);
	Napi::CallbackScope callback(env, *self->context_);
	try {
		/* May Stop: `self` lives on until the loop closes the handle. A copy, since Stop drops it. */
		std::function<void()> ready = self->on_ready_;
		Guarded(env, [&] { ready(); });
	} catch (const Napi::Error &error) {
		napi_fatal_exception(env, error.Value());
	}
}

void Poller::OnExit(napi_async_cleanup_hook_handle, void *data)
{
	Poller *self = static_cast<Poller *>(data);
	if (self->on_exit_) {
		std::function<void()> on_exit = self->on_exit_;
		on_exit();
	}
}

void Poller::Stop()
{
	uv_poll_stop(&poll_);
	on_ready_ = nullptr;
	on_exit_ = nullptr;
	uv_close(reinterpret_cast<uv_handle_t *>(&poll_), [](uv_handle_t *handle) {
		Poller *self = static_cast<Poller *>(handle->data);
		napi_async_cleanup_hook_handle hook = self->hook_;
		{
			Napi::HandleScope scope(self->env_);
			self->context_.reset();
		}
		delete self;
		/* Last: the environment may end as soon as its hook is gone. */
		napi_remove_async_cleanup_hook(hook);
	});
}

/* The JavaScript side of a poller on a socket. */
class Watch : public Napi::ObjectWrap<Watch>
{
      public:
	explicit Watch(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Watch>(info)
	{
		Guarded(info.Env(), [&] {
			AddonData &data = AddonData::Of(info.Env());
			auto *pending = static_cast<SharedFd *>(data.pending);
			data.pending = nullptr;
			if (!pending)
				throw Failure("EPERM", "construct", "watch", "use watch()");
			callback_ = Napi::Persistent(info[0].As<Napi::Function>());
			poller_ = new Poller(
				info.Env(), (*pending)->get(), *pending,
				[this] { callback_.Call({}); }, [this] { End(); });
			Ref();
		});
	}

	static Napi::Value Open(const Napi::CallbackInfo &info)
	{
		Handle &socket = Handle::From(info[0], Kind::kSocket, "watch");
		if (!info[1].IsFunction())
			throw Failure("EINVAL", "watch", "socket", "the callback is no function");
		AddonData &data = AddonData::Of(info.Env());
		SharedFd fd = socket.shared();
		data.pending = &fd;
		return data.watch_class.New({ info[1] });
	}

	static Napi::Function Define(Napi::Env env)
	{
		return DefineClass(env, "Watch",
				   { InstanceMethod<&Watch::Close>("close"),
				     InstanceMethod<&Watch::RefLoop>("ref"),
				     InstanceMethod<&Watch::UnrefLoop>("unref") });
	}

      private:
	void End()
	{
		if (!poller_)
			return;
		poller_->Stop();
		poller_ = nullptr;
		callback_.Reset();
		Unref();
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

	Poller *poller_ = nullptr;
	Napi::FunctionReference callback_;
};

void RegisterWatch(Napi::Env env, AddonData &data, Napi::Object exports)
{
	data.watch_class = Napi::Persistent(Watch::Define(env));
	exports.Set("watch", Napi::Function::New<Callback<Watch::Open>>(env));
}

} // namespace fimbria
