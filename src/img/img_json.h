/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages as JSON, for people and tests: field names as in the .proto files,
 * enums by name, bytes in base64, absent fields left out; fields that are not
 * in our .proto files are counted as "_unknown". Strings are as the kernel has
 * them; a byte that is not UTF-8 becomes the character of the same number.
 */
#ifndef IMG_IMG_JSON_H
#define IMG_IMG_JSON_H

#include <json-c/json.h>

#include "img/img.h"

/* The caller puts (json_object_put) what these return. */
struct json_object *img_to_json(const ProtobufCMessage *msg);
/* {"image": "pipes-data", "entries": [{..., "_payload": base64}]}; a long payload is shown as "_payload_len". */
struct json_object *img_msgs_to_json(const struct img_type *t, const struct img_msgs *all);

/* A string as such; always valid UTF-8. */
struct json_object *img_json_text(const char *s);

#endif
