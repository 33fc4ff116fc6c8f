/* Are policy documents well formed? Pure; nothing is evaluated here. */
#pragma once

#include "base/err.h"

enum document_kind {
	DOCUMENT_IDENTITY, /* attached to a user, group or role: actions on resources */
	DOCUMENT_TRUST,    /* who may assume a role: principals */
};

/* 0, or MalformedPolicyDocument in AWS's words. text is UTF-8. */
int document_check(const char *text, enum document_kind kind, struct err *e);
/* What AWS counts against its limits: everything but white space. */
size_t document_size(const char *text);
