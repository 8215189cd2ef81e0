/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded programs: facts, pins, test runs, statistics. */
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"
#include "netns.h"

namespace fimbria
{

/* How much a program may grow the packet in a test run. */
static constexpr size_t kHeadroom = 512;

static Napi::Value ProgramFromPin(const Napi::CallbackInfo &info)
{
	return Handle::OpenPin(info, Kind::kProgram);
}

static Napi::Value ProgramFromId(const Napi::CallbackInfo &info)
{
	uint32_t id = Uint32Of(info[0], "program id");
	return Handle::New(info.Env(), Kind::kProgram,
			   Own(bpf_prog_get_fd_by_id(id), "open", "program " + std::to_string(id)));
}

static Napi::Value ProgramInfo(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &program = Handle::From(info[0], Kind::kProgram, "inspect");
	struct bpf_prog_info facts = {};
	uint32_t length = sizeof(facts);
	if (bpf_obj_get_info_by_fd(program.fd(), &facts, &length))
		throw Refused(errno, "inspect", "program");
	/* The first call says how many maps there are; the second one fetches them. */
	std::vector<uint32_t> maps(facts.nr_map_ids);
	if (!maps.empty()) {
		struct bpf_prog_info again = {};
		again.nr_map_ids = maps.size();
		again.map_ids = reinterpret_cast<uintptr_t>(maps.data());
		length = sizeof(again);
		if (bpf_obj_get_info_by_fd(program.fd(), &again, &length))
			throw Refused(errno, "inspect", "program");
	}
	char tag[2 * BPF_TAG_SIZE + 1];
	for (int i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(tag + 2 * i, 3, "%02x", facts.tag[i]);
	Napi::Object result = Napi::Object::New(env);
	result.Set("id", facts.id);
	result.Set("type", facts.type);
	result.Set("name", std::string(facts.name, strnlen(facts.name, sizeof(facts.name))));
	result.Set("tag", tag);
	result.Set("runTimeNs", Napi::BigInt::New(env, uint64_t(facts.run_time_ns)));
	result.Set("runCount", Napi::BigInt::New(env, uint64_t(facts.run_cnt)));
	result.Set("recursionMisses", Napi::BigInt::New(env, uint64_t(facts.recursion_misses)));
	result.Set("translatedBytes", facts.xlated_prog_len);
	result.Set("jitedBytes", facts.jited_prog_len);
	result.Set("loadTimeNs", Napi::BigInt::New(env, uint64_t(facts.load_time)));
	result.Set("verifiedInstructions", facts.verified_insns);
	Napi::Array ids = Napi::Array::New(env, maps.size());
	for (size_t i = 0; i < maps.size(); i++)
		ids.Set(i, maps[i]);
	result.Set("mapIds", ids);
	return result;
}

static Napi::Value ProgramTestRun(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &program = Handle::From(info[0], Kind::kProgram, "run");
	Bytes data = BytesOf(info[1], "packet");
	Bytes ctx = BytesOf(info[2], "context");
	std::vector<uint8_t> data_out(data.size + kHeadroom), ctx_out(ctx.size);
	LIBBPF_OPTS(bpf_test_run_opts, options);
	options.data_in = data.data;
	options.data_size_in = data.size;
	options.data_out = data_out.data();
	options.data_size_out = data_out.size();
	if (ctx.size) {
		options.ctx_in = ctx.data;
		options.ctx_size_in = ctx.size;
		options.ctx_out = ctx_out.data();
		options.ctx_size_out = ctx_out.size();
	}
	options.repeat = Uint32Of(info[3], "repeat");
	RunInNetns(NetnsOf(info[4]), [&] {
		if (bpf_prog_test_run_opts(program.fd(), &options))
			throw Refused(errno, "run", "program");
	});
	Napi::Object result = Napi::Object::New(env);
	result.Set("retval", options.retval);
	result.Set("data", BufferOf(env, data_out.data(), options.data_size_out));
	result.Set("ctx", BufferOf(env, ctx_out.data(), ctx_out.size()));
	result.Set("durationNs", options.duration);
	return result;
}

/*
 * Many packets, one after another, in one visit to the namespace. Frames lie in slots of equal size,
 * contexts likewise; the results have the shape of the arguments.
 */
static Napi::Value ProgramTestRunBatch(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &program = Handle::From(info[0], Kind::kProgram, "run");
	Bytes frames = BytesOf(info[1], "frames");
	Bytes contexts = BytesOf(info[2], "contexts");
	Bytes size_bytes = BytesOf(info[3], "sizes");
	size_t count = size_bytes.size / sizeof(uint32_t);
	if (!count || size_bytes.size % sizeof(uint32_t) || frames.size % count ||
	    contexts.size % count)
		throw Failure("ERANGE", "run", "program",
			      "frames, contexts and sizes are not of the same number");
	size_t slot = frames.size / count, ctx_size = contexts.size / count;
	std::vector<uint32_t> sizes(count), verdicts(count);
	memcpy(sizes.data(), size_bytes.data, size_bytes.size);
	std::vector<uint8_t> frames_out(frames.size), contexts_out(contexts.size);
	RunInNetns(NetnsOf(info[4]), [&] {
		for (size_t i = 0; i < count; i++) {
			std::string object = "program on packet " + std::to_string(i);
			if (sizes[i] > slot)
				throw Failure("ERANGE", "run", object,
					      "it is longer than its slot");
			LIBBPF_OPTS(bpf_test_run_opts, options);
			options.data_in = frames.data + i * slot;
			options.data_size_in = sizes[i];
			options.data_out = frames_out.data() + i * slot;
			options.data_size_out = slot;
			options.ctx_in = contexts.data + i * ctx_size;
			options.ctx_size_in = ctx_size;
			options.ctx_out = contexts_out.data() + i * ctx_size;
			options.ctx_size_out = ctx_size;
			options.repeat = 1;
			if (bpf_prog_test_run_opts(program.fd(), &options))
				throw Refused(errno, "run", object);
			sizes[i] = options.data_size_out;
			verdicts[i] = options.retval;
		}
	});
	Napi::Object result = Napi::Object::New(env);
	result.Set("frames", BufferOf(env, frames_out.data(), frames_out.size()));
	result.Set("contexts", BufferOf(env, contexts_out.data(), contexts_out.size()));
	result.Set("sizes", BufferOf(env, sizes.data(), size_bytes.size));
	result.Set("verdicts", BufferOf(env, verdicts.data(), size_bytes.size));
	return result;
}

static Napi::Value Pin(const Napi::CallbackInfo &info)
{
	Handle &handle = Handle::From(info[0], "pin");
	std::string path = StringOf(info[1], "pin path");
	if (bpf_obj_pin(handle.fd(), path.c_str()))
		throw Refused(errno, "pin", std::string(KindName(handle.kind())) + " at " + path);
	return info.Env().Undefined();
}

static Napi::Value EnableStats(const Napi::CallbackInfo &info)
{
	return Handle::New(
		info.Env(), Kind::kStats,
		Own(bpf_enable_stats(BPF_STATS_RUN_TIME), "enable", "program statistics"));
}

void RegisterProgram(Napi::Env env, Napi::Object exports)
{
	exports.Set("programFromPin", Napi::Function::New<Callback<ProgramFromPin>>(env));
	exports.Set("programFromId", Napi::Function::New<Callback<ProgramFromId>>(env));
	exports.Set("programInfo", Napi::Function::New<Callback<ProgramInfo>>(env));
	exports.Set("programTestRun", Napi::Function::New<Callback<ProgramTestRun>>(env));
	exports.Set("programTestRunBatch", Napi::Function::New<Callback<ProgramTestRunBatch>>(env));
	exports.Set("pin", Napi::Function::New<Callback<Pin>>(env));
	exports.Set("enableStats", Napi::Function::New<Callback<EnableStats>>(env));
}

} // namespace fimbria
