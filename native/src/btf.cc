/* SPDX-License-Identifier: Apache-2.0 */
#include "btf.h"

#include <string>

#include "failure.h"

namespace fimbria
{

/* The kernel nests no deeper, and no map of sense has more fields; BTF of others may say anything. */
static constexpr int kMaxDepth = 32;
static constexpr uint32_t kMaxFields = 1024;

static const struct btf_type *TypeAt(const struct btf *btf, uint32_t id)
{
	const struct btf_type *type = btf__type_by_id(btf, id);
	if (!type)
		throw Failure("EINVAL", "read", "BTF",
			      "type " + std::to_string(id) + " is not there");
	return type;
}

static const char *NameOf(const struct btf *btf, const struct btf_type *type)
{
	const char *name = btf__name_by_offset(btf, type->name_off);
	return name ? name : "";
}

/* The type behind typedefs and qualifiers; the first name on the way goes to `name`. */
static uint32_t Resolve(const struct btf *btf, uint32_t id, std::string *name)
{
	for (int depth = 0; depth < kMaxDepth; depth++) {
		const struct btf_type *type = TypeAt(btf, id);
		if (name->empty())
			*name = NameOf(btf, type);
		if (!btf_is_mod(type) && !btf_is_typedef(type))
			return id;
		id = type->type;
	}
	throw Failure("EINVAL", "read", "BTF", "its typedefs do not end");
}

/* Walks a type and notes its leaves: numbers, arrays of numbers, and whatever has no fields. */
class FieldList
{
      public:
	FieldList(Napi::Env env, const struct btf *btf)
		: env_(env), btf_(btf), fields_(Napi::Array::New(env))
	{
	}

	void Add(const std::string &path, uint32_t id, uint32_t bit_offset, uint32_t bitfield,
		 int depth = 0)
	{
		if (depth > kMaxDepth)
			throw Failure("EINVAL", "read", "BTF", "its structs do not end");
		std::string name;
		uint32_t resolved = Resolve(btf_, id, &name);
		const struct btf_type *type = TypeAt(btf_, resolved);
		if (btf_is_composite(type)) {
			const struct btf_member *members = btf_members(type);
			for (uint32_t i = 0; i < btf_vlen(type); i++) {
				const char *own = btf__name_by_offset(btf_, members[i].name_off);
				std::string inner = own ? own : "";
				if (!path.empty())
					inner = inner.empty() ? path : path + "." + inner;
				Add(inner, members[i].type,
				    bit_offset + btf_member_bit_offset(type, i),
				    btf_member_bitfield_size(type, i), depth + 1);
			}
			return;
		}
		uint32_t count = 1;
		if (btf_is_array(type)) {
			const struct btf_array *array = btf_array(type);
			std::string element;
			uint32_t inner = Resolve(btf_, array->type, &element);
			const struct btf_type *of = TypeAt(btf_, inner);
			if (btf_is_int(of) || btf_is_any_enum(of)) {
				count = array->nelems;
				name = element;
				resolved = inner;
				type = of;
			}
		}
		Leaf(path, name, resolved, type, bit_offset, bitfield, count);
	}

	Napi::Array fields() const
	{
		return fields_;
	}

      private:
	void Leaf(const std::string &path, const std::string &type_name, uint32_t id,
		  const struct btf_type *type, uint32_t bit_offset, uint32_t bitfield,
		  uint32_t count)
	{
		if (fields_.Length() >= kMaxFields)
			throw Failure("E2BIG", "read", "BTF",
				      "a type has more than " + std::to_string(kMaxFields) +
					      " fields");
		int64_t bytes = btf__resolve_size(btf_, id);
		if (bytes < 0)
			throw Refused(int(-bytes), "read", "BTF");
		bool number = btf_is_int(type) || btf_is_any_enum(type);
		bool is_signed = btf_is_int(type) ? (btf_int_encoding(type) & BTF_INT_SIGNED) != 0
						  : number && btf_kflag(type);
		Napi::Object field = Napi::Object::New(env_);
		field.Set("name", path);
		field.Set("typeName", type_name);
		field.Set("bitOffset", bit_offset);
		field.Set("bits", bitfield ? bitfield : uint32_t(bytes) * 8);
		field.Set("count", count);
		field.Set("number", Napi::Boolean::New(env_, number));
		field.Set("signed", Napi::Boolean::New(env_, is_signed));
		fields_.Set(fields_.Length(), field);
	}

	Napi::Env env_;
	const struct btf *btf_;
	Napi::Array fields_;
};

static Napi::Value TypeOf(Napi::Env env, const struct btf *btf, uint32_t id)
{
	if (!id)
		return env.Undefined();
	FieldList list(env, btf);
	list.Add("", id, 0, 0);
	std::string name;
	Resolve(btf, id, &name);
	Napi::Object result = Napi::Object::New(env);
	result.Set("name", name);
	result.Set("fields", list.fields());
	return result;
}

Napi::Value TypesOf(Napi::Env env, const struct btf *btf, uint32_t key, uint32_t value)
{
	Napi::Object result = Napi::Object::New(env);
	result.Set("key", TypeOf(env, btf, key));
	result.Set("value", TypeOf(env, btf, value));
	return result;
}

} // namespace fimbria
