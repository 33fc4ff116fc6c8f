/* The protocol engine, from an HTTP request to its answer, over a stand-in for src/http. Handlers
 * are defined here as a service would. */
#include "unit.h"

#undef fail /* of cmocka; ours is in aws.h */

#include "aws_rig.h"

#include "aws/aws_tables.h"
#include "aws/eventstream.h"
#include "base/time.h"
#include "gen/iam.h"
#include "gen/lambda.h"
#include "gen/logs.h"
#include "gen/sts.h"
#include "gen/tiny.h"

#define ID "0d5c9b6e-4f3a-4e57-9b1c-1f2e3d4c5b6a"

static struct call *waiting;
static unsigned stops;

/* ---- sending ---- */

static void rest(const char *method, const char *target, const char *body)
{
	send(method, target, "", str_from(body));
}

static void json(const char *target, const char *body)
{
	char line[128];

	snprintf(line, sizeof(line), "X-Amz-Target: Logs_20140328.%s\n", target);
	send("POST", "/", line, str_from(body));
}

static void query(const char *body)
{
	send("POST", "/", "Content-Type: application/x-www-form-urlencoded\n", str_from(body));
}

static void expect(unsigned status, const char *body)
{
	assert_int_equal(answer.replies, 1);
	assert_string_equal(buf_data(&answer.body), body);
	assert_int_equal(answer.status, status);
	assert_int_equal(strlen(answer_header("x-amzn-RequestId")), 36);
}

static void expect_error(unsigned status, const char *type, const char *message)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_puts(&b, "{\"message\":");
	buf_json_string(&b, str_from(message));
	buf_append(&b, "}", 2);
	expect(status, buf_data(&b));
	assert_string_equal(answer_header("x-amzn-ErrorType"), type);
}

/* ---- handlers ---- */

int lambda_get_alias(struct call *c, const struct lambda_get_alias_in *in,
    struct lambda_get_alias_out *out, struct err *e)
{
	if (strcmp(in->name, "absent") == 0)
		return fail(
		    e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION, "Cannot find alias arn: %s", in->name);
	if (strcmp(in->name, "broken") == 0)
		return err_sys(e, EIO, "reading the alias");
	if (strcmp(in->name, "busy") == 0) {
		call_error_member(c, "Reason", "FunctionInvocationRateLimitExceeded");
		call_error_member(c, "retryAfterSeconds", "2\r\nX-Evil: 1");
		return fail(e, LAMBDA_TOO_MANY_REQUESTS_EXCEPTION, "Rate Exceeded.");
	}
	out->name = in->name;
	out->alias_arn = call_printf(
	    c, "arn:aws:lambda:%s:%s:function:%s", c->region, c->account, in->function_name);
	return 0;
}

int lambda_get_layer_version_by_arn(struct call *c,
    const struct lambda_get_layer_version_by_arn_in *in,
    struct lambda_get_layer_version_by_arn_out *out, struct err *e)
{
	(void)e;
	out->layer_version_arn = in->arn;
	out->version = call_int(c, 7);
	return 0;
}

int lambda_list_layers(struct call *c, const struct lambda_list_layers_in *in,
    struct lambda_list_layers_out *out, struct err *e)
{
	(void)c;
	(void)e;
	out->next_marker = in->marker;
	return 0;
}

int lambda_untag_resource(struct call *c, const struct lambda_untag_resource_in *in,
    struct lambda_untag_resource_out *out, struct err *e)
{
	(void)out;
	return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s|%zu|%s|%s",
	    in->resource, in->tag_keys->count, in->tag_keys->items[0], in->tag_keys->items[1]);
}

static void stopped(struct call *c)
{
	assert_ptr_equal(c, waiting);
	stops++;
}

int lambda_invoke(
    struct call *c, const struct lambda_invoke_in *in, struct lambda_invoke_out *out, struct err *e)
{
	struct buf body = call_take_body(c);

	(void)e;
	assert_ptr_equal(in->payload->ptr, buf_data(&body));
	buf_done(&body);
	assert_string_equal(in->log_type, "Tail");
	out->payload = call_blob(c, STR("[1]"));
	out->executed_version = "$LATEST";
	out->function_error = "Unhandled\r\nX-Evil: 1";
	out->status_code = call_int(c, 202);
	call_set_request_id(c, ID);
	call_on_stop(c, stopped);
	waiting = c;
	return CALL_PENDING;
}

int lambda_invoke_with_response_stream(struct call *c,
    const struct lambda_invoke_with_response_stream_in *in,
    struct lambda_invoke_with_response_stream_out *out, struct err *e)
{
	(void)in;
	(void)e;
	out->executed_version = "3";
	out->response_stream_content_type = "text/plain";
	call_on_stop(c, stopped);
	call_stream_start(c, NULL);
	call_stream_event(c, "PayloadChunk", "application/octet-stream", STR("hello"));
	call_stream_event(c, "InvokeComplete", "application/json", STR("{}"));
	call_stream_end(c);
	return CALL_PENDING;
}

int lambda_create_function(struct call *c, const struct lambda_create_function_in *in,
    struct lambda_create_function_out *out, struct err *e)
{
	(void)e;
	out->function_name = in->function_name;
	out->code_size = call_int(c, (int64_t)in->code->zip_file->len);
	/* As if what it waits for was there already. */
	call_on_stop(c, stopped);
	call_reply(c, 0, NULL);
	return CALL_PENDING;
}

int lambda_delete_alias(struct call *c, const struct lambda_delete_alias_in *in,
    struct lambda_delete_alias_out *out, struct err *e)
{
	(void)c;
	(void)in;
	(void)out;
	(void)e;
	return 0;
}

int logs_create_log_group(struct call *c, const struct logs_create_log_group_in *in,
    struct logs_create_log_group_out *out, struct err *e)
{
	(void)c;
	(void)out;
	if (strcmp(in->log_group_name, "there") == 0)
		return fail(e, LOGS_RESOURCE_ALREADY_EXISTS_EXCEPTION,
		    "The specified log group already exists");
	if (in->tags) {
		assert_int_equal(in->tags->count, 1);
		assert_string_equal(in->tags->entries[0].key, "k");
		assert_string_equal(in->tags->entries[0].value, "v");
	}
	return 0;
}

int iam_create_user(struct call *c, const struct iam_create_user_in *in,
    struct iam_create_user_out *out, struct err *e)
{
	struct iam_user *u = call_new(c, struct iam_user);

	if (strcmp(in->user_name, "there") == 0)
		return fail(e, IAM_ENTITY_ALREADY_EXISTS_EXCEPTION,
		    "User with name <%s> & all exists", in->user_name);
	u->user_name = in->user_name;
	u->path = "a<b>&\"\x01\r";
	u->create_date = call_int(c, 1700000000123);
	u->tags = in->tags;
	out->user = u;
	return 0;
}

int sts_get_caller_identity(struct call *c, const struct sts_get_caller_identity_in *in,
    struct sts_get_caller_identity_out *out, struct err *e)
{
	(void)in;
	(void)e;
	out->arn = c->principal.arn;
	return 0;
}

int tiny_put_thing(struct call *c, const struct tiny_put_thing_in *in,
    struct tiny_put_thing_out *out, struct err *e)
{
	(void)e;
	out->name = in->name;
	out->made = in->when;
	out->ratio = in->ratio;
	out->data = in->data;
	out->flag = in->default_;
	out->weights = in->weights;
	out->matrix = in->matrix;
	out->parts = in->parts;
	out->groups = in->groups;
	out->level = in->level;
	call_header(c, "X-Rest", in->rest);
	return 0;
}

int tiny_send_thing(struct call *c, const struct tiny_send_thing_in *in,
    struct tiny_send_thing_out *out, struct err *e)
{
	(void)c;
	(void)out;
	return fail(e, TINY_TINY_EXCEPTION, "%s", in->body ? in->body->id : "none");
}

/* ---- tests ---- */

static void tables_are_sound(void **state)
{
	static const struct aws_service *const all[] = {
	    &lambda_service, &logs_service, &sts_service, &iam_service, &tiny_service};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(aws_tables_check(all[i]), 0);
	assert_int_equal(lambda_service.op_count, 85);
}

static void a_request_reaches_its_handler_and_the_result_its_client(void **state)
{
	(void)state;
	rest("GET", "/2015-03-31/functions/my%2Dfn/aliases/live", "");
	expect(200, "{\"AliasArn\":\"arn:aws:lambda:us-east-1:123456789012:function:my-fn\","
		    "\"Name\":\"live\"}");
	assert_string_equal(answer_header("Content-Type"), "application/json");
	rest("DELETE", "/2015-03-31/functions/fn/aliases/live", "");
	expect(204, "");
}

static void the_region_comes_from_the_signature(void **state)
{
	(void)state;
	send("GET", "/2015-03-31/functions/f/aliases/live",
	    "Authorization: AWS4-HMAC-SHA256 Credential=AK/20250101/eu-west-1/lambda/aws4_request, "
	    "SignedHeaders=host, Signature="
	    "0000000000000000000000000000000000000000000000000000000000000000\n"
	    "X-Amz-Date: 20250101T000000Z\n",
	    STR(""));
	assert_non_null(strstr(buf_data(&answer.body), "lambda:eu-west-1:"));
}

static void errors_of_rest_json_are_worded_as_the_model_says(void **state)
{
	(void)state;
	rest("GET", "/2015-03-31/functions/f/aliases/absent", "");
	expect(404, "{\"Type\":\"User\",\"Message\":\"Cannot find alias arn: absent\"}");
	assert_string_equal(answer_header("x-amzn-ErrorType"), "ResourceNotFoundException");
	rest("GET", "/2015-03-31/functions/f/aliases/busy", "");
	expect(429, "{\"Reason\":\"FunctionInvocationRateLimitExceeded\",\"Type\":\"User\","
		    "\"message\":\"Rate Exceeded.\"}");
	assert_string_equal(answer_header("Retry-After"), "2  X-Evil: 1");
	assert_null(answer_header("X-Evil"));
}

static void a_system_failure_does_not_tell_its_cause_to_the_client(void **state)
{
	(void)state;
	rest("GET", "/2015-03-31/functions/f/aliases/broken", "");
	assert_int_equal(answer.status, 500);
	assert_null(strstr(buf_data(&answer.body), "reading the alias"));
}

static void the_query_string_chooses_between_operations_of_one_path(void **state)
{
	(void)state;
	rest("GET",
	    "/2018-10-31/layers?Arn=arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Alayer%3Ax%3A7&"
	    "find=LayerVersion",
	    "");
	expect(200, "{\"LayerVersionArn\":\"arn:aws:lambda:us-east-1:123456789012:layer:x:7\","
		    "\"Version\":7}");
	rest("GET", "/2018-10-31/layers?Marker=m", "");
	expect(200, "{\"NextMarker\":\"m\"}");
}

static void arns_travel_in_the_path_and_lists_in_the_query(void **state)
{
	(void)state;
	rest("DELETE",
	    "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af"
	    "?tagKeys=b+1&tagKeys=a",
	    "");
	expect(400,
	    "{\"Type\":\"User\",\"message\":\"arn:aws:lambda:us-east-1:123456789012:function:"
	    "f|2|b 1|a\"}");
	rest("DELETE", "/2017-03-31/tags/arn:aws:lambda:us-east-1:123456789012:function:f", "");
	expect_error(400, "ValidationException",
	    "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: "
	    "Member must not be null");
}

static void unknown_operations_are_told_apart(void **state)
{
	(void)state;
	rest("GET", "/2015-03-31/functions/f/policy", "");
	expect_error(404, "UnknownOperationException",
	    "This server does not implement GetPolicy of lambda.");
	rest("GET", "/nowhere", "");
	expect_error(404, "UnknownOperationException",
	    "This server does not have the service that the request is for.");
	json("NoSuchThing", "{}");
	expect(400, "{\"__type\":\"UnknownOperationException\",\"message\":\"There is no such "
		    "operation in logs.\"}");
	query("Action=Fly&Version=2010-05-08");
	assert_int_equal(answer.status, 400);
	assert_non_null(strstr(buf_data(&answer.body),
	    "<Code>InvalidAction</Code><Message>Could not find operation Fly for version "
	    "2010-05-08</Message>"));
}

static void every_violation_is_told_in_the_words_of_aws(void **state)
{
	(void)state;
	rest("PUT", "/things/TOOLONG/x?many=A&many=bb&many=cc&flag=true",
	    "{\"Size\":101,\"Ratio\":1.5,\"Kind\":\"GREEN\",\"Kinds\":[\"RED\",\"x\"],"
	    "\"Secret\":\"hush\",\"Weights\":{\"ok\":2,\"NO\":0.5},\"Parts\":[{\"Id\":\"aa\"},{}],"
	    "\"Groups\":{\"g\":{\"Id\":\"a\"}},\"Data\":\"AAAAAAAAAAAAAAAA\"}");
	expect_error(400, "ValidationException",
	    "13 validation errors detected: "
	    "Value 'TOOLONG' at 'name' failed to satisfy constraint: Member must have length less "
	    "than or equal to 5; "
	    "Value 'TOOLONG' at 'name' failed to satisfy constraint: Member must satisfy regular "
	    "expression pattern: [a-z]+; "
	    "Value '[A, bb, cc]' at 'many' failed to satisfy constraint: Member must have length "
	    "less than or equal to 2; "
	    "Value '101' at 'size' failed to satisfy constraint: Member must have value less than "
	    "or "
	    "equal to 100; "
	    "Value '1.5' at 'ratio' failed to satisfy constraint: Member must have value less than "
	    "or equal to 1; "
	    "Value 'GREEN' at 'kind' failed to satisfy constraint: Member must satisfy enum value "
	    "set: [RED, BLUE]; "
	    "Value '[RED, x]' at 'kinds' failed to satisfy constraint: Member must satisfy "
	    "constraint: [Member must satisfy enum value set: [RED, BLUE], Member must not be "
	    "null]; "
	    "Value at 'secret' failed to satisfy constraint: Member must have length less than or "
	    "equal to 3; "
	    "Value '{ok=2.0, NO=0.5}' at 'weights' failed to satisfy constraint: Map keys must "
	    "satisfy constraint: [Member must have length less than or equal to 5, Member must "
	    "have "
	    "length greater than or equal to 2, Member must satisfy regular expression pattern: "
	    "[a-z]+, Member must not be null]; "
	    "Value '{ok=2.0, NO=0.5}' at 'weights' failed to satisfy constraint: Map value must "
	    "satisfy constraint: [Member must have value less than or equal to 1, Member must have "
	    "value greater than or equal to 0, Member must not be null]; "
	    "Value null at 'parts.2.member.id' failed to satisfy constraint: Member must not be "
	    "null; "
	    "Value 'a' at 'groups.g.member.id' failed to satisfy constraint: Member must have "
	    "length "
	    "greater than or equal to 2; "
	    "Value 'Blob' at 'data' failed to satisfy constraint: Member must have length less "
	    "than "
	    "or equal to 8");
	rest("PUT", "/things/abc/x", "");
	expect_error(400, "ValidationException",
	    "1 validation error detected: Value null at 'size' failed to satisfy constraint: "
	    "Member "
	    "must not be null");
}

static void every_type_survives_the_way_in_and_out(void **state)
{
	(void)state;
	send("PUT", "/things/abc/x/y%2Fz?when=2023-11-14T22%3A13%3A20Z&flag=false", "X-Level: 4\n",
	    STR("{\"Size\":1,\"Ratio\":0.1,\"default\":true,\"Data\":\"AAEC\",\"unknown\":[{}],"
		"\"Weights\":{\"ab\":0.25,\"cd\":null},\"Matrix\":[[1,-2],[],null,"
		"[9007199254740993]],\"Parts\":[{\"Id\":\"aa\",\"Inner\":{\"Id\":\"bb\"}}],"
		"\"Groups\":{\"\\u00e9\\\"\":{\"Id\":\"cc\"}},\"Kind\":null}"));
	expect(200, "{\"Name\":\"abc\",\"Made\":1700000000,\"Ratio\":0.1,\"Data\":\"AAEC\","
		    "\"Flag\":true,\"Weights\":{\"ab\":0.25},\"Matrix\":[[1,-2],[],"
		    "[9007199254740993]],\"Parts\":[{\"Id\":\"aa\",\"Inner\":{\"Id\":\"bb\"}}],"
		    "\"Groups\":{\"\xc3\xa9\\\"\":{\"Id\":\"cc\"}}}");
	assert_string_equal(answer_header("X-Level"), "4");
	assert_string_equal(answer_header("X-Rest"), "x/y/z");
	rest("POST", "/send", "{\"Id\":\"ab\"}");
	expect(418, "{\"message\":\"ab\"}");
	rest("POST", "/send", "");
	expect(418, "{\"message\":\"none\"}");
}

static void what_is_not_of_its_type_is_refused(void **state)
{
	static const struct {
		const char *body, *message;
	} cases[] = {
	    {"{\"Size\":\"1\"}", "STRING_VALUE can not be converted to an Integer"},
	    {"{\"Size\":true}", "TRUE_VALUE can not be converted to an Integer"},
	    {"{\"Size\":2147483648}", "NUMBER_VALUE can not be converted to an Integer"},
	    {"{\"Kind\":1}", "NUMBER_VALUE can not be converted to a String"},
	    {"{\"Kind\":[]}", "Start of list found where not expected"},
	    {"{\"Kind\":{}}", "Start of structure or map found where not expected."},
	    {"{\"Parts\":\"x\"}", "Expected list or null"},
	    {"{\"Weights\":1}", "Expected map or null"},
	    {"{\"Parts\":[1]}", "Unexpected field type"},
	    {"{\"Data\":\"*\"}", "Blob is not valid base64"},
	    {"[]", "Start of list found where not expected"},
	    {"1", "Unexpected field type"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		rest("PUT", "/things/abc/x", cases[i].body);
		expect_error(400, "SerializationException", cases[i].message);
	}
	rest("PUT", "/things/abc/x", "{\"Size\":");
	assert_int_equal(answer.status, 400);
	rest("PUT", "/things/abc/x", "{\"Kind\":\"\xff\"}");
	assert_int_equal(answer.status, 400);
	rest("PUT", "/things/abc/x", "{\"Kind\":\"\\u0000\"}");
	assert_int_equal(answer.status, 400);
	rest("PUT", "/things/a%00c/x", "{}");
	assert_int_equal(answer.status, 400);
	rest("PUT", "/things/abc/x?flag=maybe", "{}");
	expect_error(400, "SerializationException", "'maybe' can not be converted to a Boolean");
}

static void elements_of_a_list_are_judged_as_one(void **state)
{
	(void)state;
	rest("PUT", "/things/abc/x?many=A&many=bb", "{\"Size\":1}");
	expect_error(400, "ValidationException",
	    "1 validation error detected: Value '[A, bb]' at 'many' failed to satisfy constraint: "
	    "Member must satisfy constraint: [Member must have length less than or equal to 5, "
	    "Member "
	    "must have length greater than or equal to 2, Member must satisfy regular expression "
	    "pattern: [a-z]+, Member must not be null]");
}

static struct aws_pattern *pattern_of(const struct aws_service *s, const char *shape)
{
	for (size_t i = 0; i < s->shape_count; i++)
		if (strcmp(s->shapes[i].name, shape) == 0)
			return s->shapes[i].pattern;
	return NULL;
}

/* Long values that are right must match within the limit of steps; \d is ASCII, as in Java. */
static void patterns_match_long_values_and_only_ascii_digits(void **state)
{
	_cleanup_free_ char *policy = xcalloc(1, 131073);
	struct aws_pattern *account = pattern_of(&lambda_service, "SourceOwner");
	struct aws_pattern *role = pattern_of(&lambda_service, "RoleArn");

	(void)state;
	memset(policy, 'x', 131072);
	assert_true(aws_pattern_match(pattern_of(&lambda_service, "Handler"), policy));
	assert_true(aws_pattern_match(
	    pattern_of(&sts_service, "unrestrictedSessionPolicyDocumentType"), policy));
	assert_true(aws_pattern_match(account, "123456789012"));
	assert_false(aws_pattern_match(account, "12345678901\xd9\xa1"));
	assert_false(aws_pattern_match(account, "123456789012\n"));
	assert_true(aws_pattern_match(role, "arn:aws:iam::123456789012:role/service-role/r"));
	assert_false(aws_pattern_match(role, "arn:aws:iam::1234:role/r"));
}

static void bombs_do_not_go_off(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		buf_puts(&b, "{\"Inner\":");
	buf_append(&b, "", 1);
	rest("POST", "/send", buf_data(&b));
	assert_int_equal(answer.status, 400);
	buf_clear(&b);
	buf_puts(&b, "{\"Parts\":[");
	for (unsigned i = 0; i < 200000; i++)
		buf_puts(&b, "{},");
	buf_puts(&b, "{}]}");
	buf_append(&b, "", 1);
	rest("PUT", "/things/abc/x", buf_data(&b));
	settle();
	assert_non_null(strstr(buf_data(&answer.body), "more than 200000 values"));
	buf_clear(&b);
	for (unsigned i = 0; i < 100; i++)
		buf_puts(&b, "{\"Id\":\"aa\",\"Inner\":");
	buf_puts(&b, "null");
	for (unsigned i = 0; i < 100; i++)
		buf_puts(&b, "}");
	buf_append(&b, "", 1);
	rest("POST", "/send", buf_data(&b));
	expect_error(400, "SerializationException", "Values are nested too deep");
}

static void json_answers_like_logs(void **state)
{
	(void)state;
	json("CreateLogGroup", "{\"logGroupName\":\"g\",\"tags\":{\"k\":\"v\"}}");
	expect(200, "");
	json("CreateLogGroup", "{\"logGroupName\":\"there\"}");
	expect(400,
	    "{\"__type\":\"ResourceAlreadyExistsException\",\"message\":\"The specified log "
	    "group already exists\"}");
	assert_string_equal(answer_header("Content-Type"), "application/x-amz-json-1.1");
	json("CreateLogGroup", "{}");
	expect(400,
	    "{\"__type\":\"ValidationException\",\"message\":\"1 validation error detected: "
	    "Value null at 'logGroupName' failed to satisfy constraint: Member must not be "
	    "null\"}");
}

static void query_answers_like_iam(void **state)
{
	char body[2048];

	(void)state;
	query("Action=CreateUser&Version=2010-05-08&UserName=jo&Tags.member.1.Key=k+1&"
	      "Tags.member.1.Value=%3D&Tags.member.2.Key=l&Tags.member.2.Value=");
	snprintf(body, sizeof(body),
	    "<CreateUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">"
	    "<CreateUserResult><User><CreateDate>2023-11-14T22:13:20Z</CreateDate>"
	    "<Path>a&lt;b&gt;&amp;&quot;\xEF\xBF\xBD&#xD;</Path><Tags><member>"
	    "<Key>k 1</Key><Value>=</Value></member><member><Key>l</Key><Value></Value></member>"
	    "</Tags><UserName>jo</UserName></User></"
	    "CreateUserResult><ResponseMetadata><RequestId>%s</RequestId>"
	    "</ResponseMetadata></CreateUserResponse>",
	    answer_header("x-amzn-RequestId"));
	expect(200, body);
	assert_string_equal(answer_header("Content-Type"), "text/xml");
	query("Action=CreateUser&Version=2010-05-08&UserName=there");
	snprintf(body, sizeof(body),
	    "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error>"
	    "<Type>Sender</Type><Code>EntityAlreadyExists</Code><Message>User with name "
	    "&lt;there&gt; "
	    "&amp; all exists</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
	    answer_header("x-amzn-RequestId"));
	expect(409, body);
	query("Action=CreateUser&Version=2010-05-08&UserName=a%2Fb");
	assert_non_null(strstr(buf_data(&answer.body),
	    "<Code>ValidationError</Code><Message>1 validation error detected: Value 'a/b' at "
	    "'userName' failed to satisfy constraint: Member must satisfy regular expression "
	    "pattern: [\\w+=,.@-]+</Message>"));
	query("Action=GetCallerIdentity&Version=2011-06-15");
	assert_non_null(
	    strstr(buf_data(&answer.body), "<Arn>arn:aws:iam::123456789012:root</Arn>"));
	query("Action=CreateUser&Version=2010-05-08&UserName=%zz");
	assert_int_equal(answer.status, 400);
}

static void a_waiting_call_is_answered_later_with_the_payload_as_it_is(void **state)
{
	(void)state;
	send("POST", "/2015-03-31/functions/f/invocations", "X-Amz-Log-Type: Tail\n",
	    STR("not even json"));
	assert_int_equal(answer.replies, 0);
	call_reply(waiting, 0, NULL);
	assert_int_equal(answer.status, 202);
	assert_string_equal(buf_data(&answer.body), "[1]");
	assert_string_equal(answer_header("x-amzn-RequestId"), ID);
	assert_string_equal(answer_header("X-Amz-Executed-Version"), "$LATEST");
	assert_string_equal(answer_header("X-Amz-Function-Error"), "Unhandled  X-Evil: 1");
	assert_null(answer_header("X-Evil"));
	assert_int_equal(stops, 0);
}

static void a_client_that_goes_stops_the_call(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	stops = 0;
	send("POST", "/2015-03-31/functions/f/invocations", "X-Amz-Log-Type: Tail\n", STR("{}"));
	aws_on_cancel(&request);
	assert_int_equal(stops, 1);
	send("POST", "/2015-03-31/functions/f/invocations", "X-Amz-Log-Type: Tail\n", STR("{}"));
	fail(&e, LAMBDA_SERVICE_EXCEPTION, "later");
	call_reply(waiting, -EINVAL, &e);
	expect(500, "{\"Type\":\"Service\",\"Message\":\"later\"}");
	assert_int_equal(stops, 1);
}

static void an_event_stream_is_framed(void **state)
{
	struct eventstream_message m;
	struct str data;
	ssize_t n;

	(void)state;
	rest("POST", "/2021-11-15/functions/f/response-streaming-invocations", "{}");
	assert_int_equal(answer.status, 200);
	assert_true(answer.ended);
	assert_string_equal(answer_header("Content-Type"), "application/vnd.amazon.eventstream");
	assert_string_equal(answer_header("X-Amz-Executed-Version"), "3");
	data = buf_str(&answer.body);
	n = eventstream_parse(data, &m);
	assert_true(n > 0);
	assert_string_equal(m.type, "PayloadChunk");
	assert_string_equal(m.message_type, "event");
	assert_true(str_is(m.payload, "hello"));
	assert_int_equal(eventstream_parse((struct str){data.ptr, (size_t)n - 1}, &m), 0);
	data = str_sub(data, (size_t)n);
	assert_int_equal(eventstream_parse(data, &m), data.len);
	assert_string_equal(m.type, "InvokeComplete");
	buf_data(&answer.body)[20] ^= 1;
	assert_int_equal(eventstream_parse(buf_str(&answer.body), &m), -EBADMSG);
}

static void too_large_a_body_is_refused_before_it_is_sent(void **state)
{
	(void)state;
	send("POST", "/2015-03-31/functions", "Content-Length: 70167212\n", STR(""));
	expect_error(413, "RequestEntityTooLargeException",
	    "Request must be smaller than 70167211 bytes for the CreateFunction operation");
}

#define ZIP (300 * 1024)

static char *create_function_body(void)
{
	char *zip = xcalloc(1, ZIP), *text = xmalloc(BASE64_ENCODED_SIZE(ZIP)), *body;

	base64_encode(zip, ZIP, text);
	body = xasprintf("{\"FunctionName\":\"f\",\"Role\":\"arn:aws:iam::123456789012:role/r\","
			 "\"Code\":{\"ZipFile\":\"%s\"}}",
	    text);
	free(zip);
	free(text);
	return body;
}

static void a_large_body_is_decoded_on_a_worker(void **state)
{
	_cleanup_free_ char *body = create_function_body();

	(void)state;
	rest("POST", "/2015-03-31/functions", body);
	assert_int_equal(answer.replies, 0);
	settle();
	expect(201, "{\"CodeSize\":307200,\"FunctionName\":\"f\"}");
	rest("POST", "/2015-03-31/functions", body);
	aws_on_cancel(&request);
	for (unsigned i = 0; i < 20; i++)
		loop_turn(loop, 10);
	assert_int_equal(answer.replies, 0);
}

static int setup(void **state)
{
	static const struct aws_config config = {
	    .dev = true, .account = "123456789012", .region = "us-east-1"};

	(void)state;
	start_engine(&config);
	aws_service_add(aws, &lambda_service, NULL);
	aws_service_add(aws, &logs_service, NULL);
	aws_service_add(aws, &sts_service, NULL);
	aws_service_add(aws, &iam_service, NULL);
	aws_service_add(aws, &tiny_service, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_engine();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tables_are_sound),
	    cmocka_unit_test(a_request_reaches_its_handler_and_the_result_its_client),
	    cmocka_unit_test(the_region_comes_from_the_signature),
	    cmocka_unit_test(errors_of_rest_json_are_worded_as_the_model_says),
	    cmocka_unit_test(a_system_failure_does_not_tell_its_cause_to_the_client),
	    cmocka_unit_test(the_query_string_chooses_between_operations_of_one_path),
	    cmocka_unit_test(arns_travel_in_the_path_and_lists_in_the_query),
	    cmocka_unit_test(unknown_operations_are_told_apart),
	    cmocka_unit_test(every_violation_is_told_in_the_words_of_aws),
	    cmocka_unit_test(every_type_survives_the_way_in_and_out),
	    cmocka_unit_test(what_is_not_of_its_type_is_refused),
	    cmocka_unit_test(elements_of_a_list_are_judged_as_one),
	    cmocka_unit_test(patterns_match_long_values_and_only_ascii_digits),
	    cmocka_unit_test(bombs_do_not_go_off),
	    cmocka_unit_test(json_answers_like_logs),
	    cmocka_unit_test(query_answers_like_iam),
	    cmocka_unit_test(a_waiting_call_is_answered_later_with_the_payload_as_it_is),
	    cmocka_unit_test(a_client_that_goes_stops_the_call),
	    cmocka_unit_test(an_event_stream_is_framed),
	    cmocka_unit_test(too_large_a_body_is_refused_before_it_is_sent),
	    cmocka_unit_test(a_large_body_is_decoded_on_a_worker),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
