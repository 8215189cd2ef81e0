/* SPDX-License-Identifier: Apache-2.0 */
/* A BPF ELF file in libbpf's hands. */
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <napi.h>
#include <bpf/libbpf.h>

#include "failure.h"
#include "handle.h"

namespace fimbria
{

enum class Stage {
	kOpen,
	kLoading,
	kLoaded,
	kFailed
};

/* BTF type ids of a map's key and value within its object; 0 = none. */
struct TypeIds {
	uint32_t key;
	uint32_t value;
};

/* Shared with the thread that loads, so that neither close nor collection pulls it away. */
struct ObjectState {
	struct bpf_object *object = nullptr;
	std::string path;
	Stage stage = Stage::kOpen;
	std::unique_ptr<char[]> log_buffer;
	std::map<std::string, TypeIds> types;
	std::vector<SharedFd> held;

	ObjectState() = default;
	ObjectState(const ObjectState &) = delete;
	ObjectState &operator=(const ObjectState &) = delete;
	~ObjectState();

	/* Blocks while the verifier works; any thread. What went wrong, if anything did. */
	std::optional<Failure> Load();
	/* Notes how loading ended; throws the refusal. */
	void Finish(const std::optional<Failure> &refusal);
};

class BpfObject : public Napi::ObjectWrap<BpfObject>
{
      public:
	explicit BpfObject(const Napi::CallbackInfo &info);

	static Napi::Value Open(const Napi::CallbackInfo &info);
	static BpfObject &From(const Napi::Value &value);
	static Napi::Function Define(Napi::Env env);

	/* Types of a map (of a map of maps: its inner map's) and the BTF they belong to, which the object owns. */
	TypeIds Types(const std::string &map, int *btf_fd);

      private:
	template <Napi::Value (BpfObject::*Method)(const Napi::CallbackInfo &)>
	Napi::Value Call(const Napi::CallbackInfo &info);

	/* The state, if it is at that stage. */
	ObjectState &At(Stage stage, const char *op);

	Napi::Value Maps(const Napi::CallbackInfo &info);
	Napi::Value MapTypes(const Napi::CallbackInfo &info);
	Napi::Value Programs(const Napi::CallbackInfo &info);
	Napi::Value SetRodata(const Napi::CallbackInfo &info);
	Napi::Value SetMaxEntries(const Napi::CallbackInfo &info);
	Napi::Value SetPinPath(const Napi::CallbackInfo &info);
	Napi::Value ReuseMap(const Napi::CallbackInfo &info);
	Napi::Value SetInnerMap(const Napi::CallbackInfo &info);
	Napi::Value SetAutoload(const Napi::CallbackInfo &info);
	Napi::Value Load(const Napi::CallbackInfo &info);
	Napi::Value LoadAsync(const Napi::CallbackInfo &info);
	Napi::Value Map(const Napi::CallbackInfo &info);
	Napi::Value Program(const Napi::CallbackInfo &info);
	Napi::Value Close(const Napi::CallbackInfo &info);

	std::shared_ptr<ObjectState> state_;
};

} // namespace fimbria
