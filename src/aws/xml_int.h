/* A parsed XML body: what xml_parse.c makes and xml_decode.c reads. All of it is in the arena. */
#pragma once

#include "aws/aws_int.h"

struct xml_attribute {
	const char *name; /* without prefix */
	const char *value;
	struct xml_attribute *next;
};

struct xml_node {
	const char *name; /* without prefix */
	const char *text; /* "" where there are children */
	struct xml_attribute *attributes;
	struct xml_node *children, *next;
};

/* 0, or negative with e (AWS_SERIALIZATION). */
int xml_parse(struct arena *a, struct str body, struct xml_node **ret, struct err *e);
