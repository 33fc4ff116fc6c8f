/*
 * YAML as templates use it, over libyaml, into jansson values. The short forms of intrinsic
 * functions become their long ones: !Ref x is {"Ref": "x"}, !GetAtt a.b is {"Fn::GetAtt": ["a",
 * "b"]}, !Sub, !Join and others {"Fn::Name": …}. JSON is YAML too.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

/* The one document of `text`; NULL and e with the line. Aliases, further documents, duplicate keys
 * and nesting beyond 64 levels are refused. */
json_t *yaml_parse(struct str text, struct err *e);
