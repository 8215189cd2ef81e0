/* SPDX-License-Identifier: Apache-2.0 */
/* Constants of an object that are set before loading, found and measured through BTF. */
#include "object.h"

#include <cstring>
#include <string>

#include <bpf/btf.h>

#include "args.h"
#include "failure.h"

namespace fimbria
{

/* Where a variable lies. */
struct Variable {
	uint8_t *data;
	size_t size;
	/* A plain number, and whether it has a sign. */
	bool scalar;
	bool is_signed;
	bool is_bool;
};

/* The type behind const, volatile and typedef. */
static const struct btf_type *Bare(const struct btf *btf, uint32_t id)
{
	const struct btf_type *type = btf__type_by_id(btf, id);
	while (type && (btf_is_mod(type) || btf_is_typedef(type)))
		type = btf__type_by_id(btf, type->type);
	return type;
}

static bool IsRodata(const char *section)
{
	static const char kPrefix[] = ".rodata";
	size_t length = sizeof(kPrefix) - 1;
	return !strncmp(section, kPrefix, length) && (!section[length] || section[length] == '.');
}

static Variable FindVariable(ObjectState &state, const std::string &name)
{
	const struct btf *btf = bpf_object__btf(state.object);
	uint32_t count = btf ? btf__type_cnt(btf) : 0;
	for (uint32_t id = 1; id < count; id++) {
		const struct btf_type *section = btf__type_by_id(btf, id);
		if (!btf_is_datasec(section))
			continue;
		const char *section_name = btf__name_by_offset(btf, section->name_off);
		if (!IsRodata(section_name))
			continue;
		const struct btf_var_secinfo *entry = btf_var_secinfos(section);
		for (uint32_t i = 0; i < btf_vlen(section); i++, entry++) {
			const struct btf_type *var = btf__type_by_id(btf, entry->type);
			if (name != btf__name_by_offset(btf, var->name_off))
				continue;
			struct bpf_map *map =
				bpf_object__find_map_by_name(state.object, section_name);
			size_t size = 0;
			void *base = map ? const_cast<void *>(bpf_map__initial_value(map, &size))
					 : nullptr;
			if (!base || entry->offset + entry->size > size)
				throw Failure("EIO", "set", "constant " + name,
					      "its section has no data");
			const struct btf_type *type = Bare(btf, var->type);
			bool is_int = type && btf_is_int(type);
			bool is_enum = type && btf_is_any_enum(type);
			return { static_cast<uint8_t *>(base) + entry->offset, entry->size,
				 is_int || is_enum,
				 is_int ? (btf_int_encoding(type) & BTF_INT_SIGNED) != 0
					: is_enum && btf_kflag(type),
				 is_int && (btf_int_encoding(type) & BTF_INT_BOOL) != 0 };
		}
	}
	throw Failure("ENOENT", "set", "constant " + name,
		      "no read-only section of " + state.path + " has it");
}

static void SetNumber(const Variable &variable, const std::string &name, const Napi::BigInt &value)
{
	bool fits = variable.scalar && variable.size <= 8;
	uint64_t bits = 0;
	if (fits) {
		bool lossless = false;
		int shift = 64 - 8 * static_cast<int>(variable.size);
		if (variable.is_signed) {
			int64_t number = value.Int64Value(&lossless);
			bits = static_cast<uint64_t>(number);
			fits = lossless && number == static_cast<int64_t>(bits << shift) >> shift;
		} else {
			bits = value.Uint64Value(&lossless);
			fits = lossless && bits == bits << shift >> shift;
			if (variable.is_bool)
				fits = fits && bits <= 1;
		}
	}
	if (!fits)
		throw Failure("ERANGE", "set", "constant " + name,
			      variable.scalar ? "the value does not fit into its " +
							std::to_string(variable.size) + " bytes"
					      : "it is no number; give its bytes");
	/* Little-endian, as every machine that this runs on. */
	memcpy(variable.data, &bits, variable.size);
}

Napi::Value BpfObject::SetRodata(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "set constants of");
	std::string name = StringOf(info[0], "variable name");
	Variable variable = FindVariable(state, name);
	if (info[1].IsBigInt())
		SetNumber(variable, name, info[1].As<Napi::BigInt>());
	else
		memcpy(variable.data,
		       ExactBytes(info[1], variable.size, "value", "constant " + name),
		       variable.size);
	return info.Env().Undefined();
}

} // namespace fimbria
