/* SPDX-License-Identifier: Apache-2.0 */
/* Work on libuv's pool with a promise at the end. Never enters a namespace itself: see netns.h. */
#pragma once

#include <functional>
#include <optional>

#include <napi.h>

#include "failure.h"

namespace fimbria
{

/* `work` runs on a thread of the pool and may throw Failure; `deliver` makes the promise's value. */
template <typename Result> class Task : public Napi::AsyncWorker
{
      public:
	using Work = std::function<Result()>;
	using Deliver = std::function<Napi::Value(Napi::Env, Result &)>;

	static Napi::Value Start(Napi::Env env, Work work, Deliver deliver)
	{
		Task *task = new Task(env, std::move(work), std::move(deliver));
		Napi::Promise promise = task->deferred_.Promise();
		task->Queue();
		return promise;
	}

      protected:
	void Execute() override
	{
		try {
			result_ = work_();
		} catch (const Failure &failure) {
			failure_ = failure;
		} catch (const std::exception &error) {
			failure_ = Failure("EIO", "run", "native code", error.what());
		}
	}

	void OnOK() override
	{
		Napi::HandleScope scope(Env());
		if (failure_) {
			deferred_.Reject(ToJs(Env(), *failure_).Value());
			return;
		}
		try {
			deferred_.Resolve(
				Guarded(Env(), [&] { return deliver_(Env(), *result_); }));
		} catch (const Napi::Error &error) {
			deferred_.Reject(error.Value());
		}
	}

      private:
	Task(Napi::Env env, Work work, Deliver deliver)
		: Napi::AsyncWorker(env), deferred_(env), work_(std::move(work)),
		  deliver_(std::move(deliver))
	{
	}

	Napi::Promise::Deferred deferred_;
	Work work_;
	Deliver deliver_;
	std::optional<Result> result_;
	std::optional<Failure> failure_;
};

} // namespace fimbria
