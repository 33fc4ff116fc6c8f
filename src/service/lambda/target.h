/* Functions as targets, and what is to become of their events. Loop thread. */
#pragma once

#include "invoke/invoke.h"
#include "service/lambda/lambda.h"
#include "target/target.h"

/* Register "arn:aws:lambda:…" with the targets. l outlives them. */
void lambda_target_add(struct lambda *l, struct targets *t);
/* invoke_options.policy: what the function's configuration says; false: it is gone. */
bool lambda_event_policy(struct lambda *l, struct str account, struct str region, struct str name,
    struct str qualifier, struct invoke_policy *ret);
