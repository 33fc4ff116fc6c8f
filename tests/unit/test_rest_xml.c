/* rest-xml as S3 speaks it: routing, documents, streamed bodies, answers from files, errors. The
 * handlers are defined here as a service would. */
#include "unit.h"

#undef fail /* of cmocka; ours is in aws.h */

#include <fcntl.h>

#include "aws_rig.h"

#include "aws/aws_tables.h"
#include "gen/lambda.h"
#include "gen/s3.h"

#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

static char seen[4096]; /* by the handler */
static struct buf uploaded;
static struct call *uploading;
static unsigned stops, ends;
static bool pause_once, wait_first, answer_early;

static void expect_error(unsigned status, const char *code)
{
	_cleanup_free_ char *text = xasprintf("<Error><Code>%s</Code>", code);

	assert_int_equal(answer.replies, 1);
	if (!strstr(buf_data(&answer.body), text))
		assert_string_equal(buf_data(&answer.body), text);
	assert_int_equal(answer.status, status);
	assert_string_equal(answer_header("Content-Type"), "application/xml");
	assert_true(strlen(answer_header("x-amz-request-id")) == 36);
	assert_non_null(answer_header("x-amz-id-2"));
}

static void expect_body(unsigned status, const char *body)
{
	assert_int_equal(answer.replies, 1);
	assert_string_equal(buf_data(&answer.body), body);
	assert_int_equal(answer.status, status);
}

/* ---- routing ---- */

static void the_query_and_headers_choose_the_operation(void **state)
{
	static const struct {
		const char *method, *target, *headers, *op, *bucket, *key;
	} cases[] = {
	    {"GET", "/", "", "ListBuckets"},
	    {"GET", "/?x-id=ListBuckets", "", "ListBuckets"},
	    {"GET", "/b", "", "ListObjects", "b"},
	    {"GET", "/b/", "", "ListObjects", "b"},
	    {"GET", "/b?list-type=2&prefix=a", "", "ListObjectsV2", "b"},
	    {"GET", "/b?list-type=1", "", "ListObjects", "b"},
	    {"GET", "/b?uploads", "", "ListMultipartUploads", "b"},
	    {"GET", "/b?uploads=", "", "ListMultipartUploads", "b"},
	    {"GET", "/b?versions&prefix=acl", "", "ListObjectVersions", "b"},
	    {"GET", "/b?location", "", "GetBucketLocation", "b"},
	    {"GET", "/b?notification", "", "GetBucketNotificationConfiguration", "b"},
	    {"GET", "/b?lifecycle", "", "GetBucketLifecycleConfiguration", "b"},
	    {"PUT", "/b?lifecycle", "", "PutBucketLifecycleConfiguration", "b"},
	    {"GET", "/b?analytics&id=1", "", "GetBucketAnalyticsConfiguration", "b"},
	    {"GET", "/b?analytics", "", "ListBucketAnalyticsConfigurations", "b"},
	    {"PUT", "/b", "", "CreateBucket", "b"},
	    {"DELETE", "/b", "", "DeleteBucket", "b"},
	    {"DELETE", "/b?policy", "", "DeleteBucketPolicy", "b"},
	    /* Never DeleteBucket: */
	    {"DELETE", "/b?analytics", "", "DeleteBucketAnalyticsConfiguration", "b"},
	    {"DELETE", "/b?policy&cors", "", NULL},
	    {"DELETE", "/b?policyStatus", "", NULL},
	    {"HEAD", "/b", "", "HeadBucket", "b"},
	    {"POST", "/b?delete", "", "DeleteObjects", "b"},
	    {"POST", "/b", "", NULL},
	    {"OPTIONS", "/b/k", "", NULL},
	    {"GET", "/b/k", "", "GetObject", "b", "k"},
	    {"GET", "/b/k?x-id=GetObject&partNumber=1", "", "GetObject", "b", "k"},
	    {"GET", "/b//k//l/", "", "GetObject", "b", "/k//l/"},
	    {"GET", "/b/../%2e./k", "", "GetObject", "b", "../%2e./k"},
	    {"GET", "/b/k?uploadId=7", "", "ListParts", "b", "k"},
	    {"GET", "/b/k?tagging", "", "GetObjectTagging", "b", "k"},
	    {"GET", "/b/k?policy", "", NULL},
	    {"HEAD", "/b/k", "", "HeadObject", "b", "k"},
	    {"PUT", "/b/k", "", "PutObject", "b", "k"},
	    {"PUT", "/b/k", "x-amz-copy-source: /c/d\n", "CopyObject", "b", "k"},
	    {"PUT", "/b/k?partNumber=1&uploadId=7", "", "UploadPart", "b", "k"},
	    {"PUT", "/b/k?partNumber=1&uploadId=7", "X-Amz-Copy-Source: /c/d\n", "UploadPartCopy",
		"b", "k"},
	    /* Never PutObject, which would replace the object by a part of it: */
	    {"PUT", "/b/k?uploadId=7", "", "UploadPart", "b", "k"},
	    {"PUT", "/b/k?partNumber=7", "", "UploadPart", "b", "k"},
	    {"PUT", "/b/k?acl", "", "PutObjectAcl", "b", "k"},
	    {"PUT", "/b/k?legal-hold", "", "PutObjectLegalHold", "b", "k"},
	    {"POST", "/b/k?uploads", "", "CreateMultipartUpload", "b", "k"},
	    {"POST", "/b/k?uploadId=7", "", "CompleteMultipartUpload", "b", "k"},
	    {"POST", "/b/k?select&select-type=2", "", "SelectObjectContent", "b", "k"},
	    {"DELETE", "/b/k", "", "DeleteObject", "b", "k"},
	    {"DELETE", "/b/k?uploadId=7", "", "AbortMultipartUpload", "b", "k"},
	    {"DELETE", "/b/k?versionId=7", "", "DeleteObject", "b", "k"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct aws_route route = {0};

		request = (struct http_request){.headers = headers};
		request.method = str_from(cases[i].method);
		request.query = str_from(cases[i].target);
		request.path = route.path = str_cut(&request.query, '?');
		if (*cases[i].headers) {
			struct str value = str_from(cases[i].headers);
			struct str name = str_cut(&value, ':');

			headers[request.header_count++] = (struct http_header){name, value};
		}
		aws_route_rest_xml(&s3_service, &request, &route);
		assert_string_equal(
		    route.op ? route.op->name : "none", cases[i].op ? cases[i].op : "none");
		if (cases[i].bucket)
			assert_true(str_is(route.labels[0].value, cases[i].bucket));
		if (cases[i].key)
			assert_true(str_is(route.labels[1].value, cases[i].key));
	}
}

static void the_tables_are_sound(void **state)
{
	(void)state;
	assert_int_equal(aws_tables_check(&s3_service), 0);
}

/* ---- handlers ---- */

int s3_list_buckets(struct call *c, const struct s3_list_buckets_in *in,
    struct s3_list_buckets_out *out, struct err *e)
{
	struct s3_buckets *list = call_new(c, struct s3_buckets);
	struct s3_bucket *b = call_array(c, 2, struct s3_bucket);
	struct s3_owner *owner = call_new(c, struct s3_owner);

	(void)in;
	(void)e;
	b[0].name = "a&b";
	b[0].creation_date = call_int(c, 1700000000123);
	b[1].name = "c\x01"
		    "d\r\xEF\xBF\xBE";
	list->items = b;
	list->count = 2;
	owner->id = c->principal.type == AWS_ANONYMOUS ? "anonymous" : c->account;
	out->buckets = list;
	out->owner = owner;
	return 0;
}

int s3_get_bucket_location(struct call *c, const struct s3_get_bucket_location_in *in,
    struct s3_get_bucket_location_out *out, struct err *e)
{
	(void)c;
	(void)e;
	if (strcmp(in->bucket, "eu") == 0)
		out->location_constraint = "eu-west-1";
	return 0;
}

int s3_delete_objects(struct call *c, const struct s3_delete_objects_in *in,
    struct s3_delete_objects_out *out, struct err *e)
{
	struct s3_deleted_objects *list = call_new(c, struct s3_deleted_objects);
	struct s3_deleted_object *d =
	    call_array(c, in->delete->objects->count, struct s3_deleted_object);

	(void)e;
	for (size_t i = 0; i < in->delete->objects->count; i++)
		d[i].key = in->delete->objects->items[i].key;
	list->items = d;
	list->count = in->delete->objects->count;
	out->deleted = list;
	return 0;
}

int s3_put_bucket_acl(struct call *c, const struct s3_put_bucket_acl_in *in,
    struct s3_put_bucket_acl_out *out, struct err *e)
{
	const struct s3_grant *g = in->access_control_policy->grants->items;

	(void)c;
	(void)out;
	(void)e;
	snprintf(seen, sizeof(seen), "%zu %s %s %s %s", in->access_control_policy->grants->count,
	    g[0].grantee->type, g[0].grantee->id, g[0].permission, g[1].grantee->uri);
	return 0;
}

int s3_get_bucket_acl(struct call *c, const struct s3_get_bucket_acl_in *in,
    struct s3_get_bucket_acl_out *out, struct err *e)
{
	struct s3_grants *list = call_new(c, struct s3_grants);
	struct s3_grant *g = call_new(c, struct s3_grant);
	struct s3_grantee *who = call_new(c, struct s3_grantee);

	(void)in;
	(void)e;
	who->type = "CanonicalUser";
	who->id = "me";
	g->grantee = who;
	g->permission = "FULL_CONTROL";
	list->items = g;
	list->count = 1;
	out->grants = list;
	return 0;
}

int s3_put_bucket_policy(struct call *c, const struct s3_put_bucket_policy_in *in,
    struct s3_put_bucket_policy_out *out, struct err *e)
{
	(void)c;
	(void)out;
	(void)e;
	snprintf(seen, sizeof(seen), "%s", in->policy);
	return 0;
}

int s3_get_bucket_policy(struct call *c, const struct s3_get_bucket_policy_in *in,
    struct s3_get_bucket_policy_out *out, struct err *e)
{
	(void)out;
	if (strcmp(in->bucket, "none") == 0) {
		call_error_member(c, "BucketName", "no<ne");
		return fail(e, S3_NO_SUCH_BUCKET_POLICY, "The bucket policy does not exist");
	}
	call_reply_text(c, 200, "application/json", STR("{}"));
	return 0;
}

int s3_head_object(struct call *c, const struct s3_head_object_in *in,
    struct s3_head_object_out *out, struct err *e)
{
	if (in->if_modified_since)
		return fail(e, S3_NOT_MODIFIED, "Not Modified");
	out->content_length = call_int(c, 1000000);
	out->last_modified = call_int(c, 1700000000123);
	return 0;
}

int s3_get_object(
    struct call *c, const struct s3_get_object_in *in, struct s3_get_object_out *out, struct err *e)
{
	struct s3_metadata *m = call_new(c, struct s3_metadata);
	struct s3_metadata_entry *entries = call_array(c, 2, struct s3_metadata_entry);
	int fd;

	snprintf(seen, sizeof(seen), "%s", in->key);
	if (strcmp(in->key, "absent") == 0) {
		call_error_member(c, "Key", in->key);
		return fail(e, S3_NO_SUCH_KEY, "The specified key does not exist.");
	}
	entries[0].key = "a";
	entries[0].value = "1\r\nEvil: 1";
	entries[1].key = "b";
	entries[1].value = "2";
	m->entries = entries;
	m->count = 2;
	out->metadata = m;
	out->e_tag = "\"e\"";
	out->last_modified = call_int(c, 1700000000123);
	out->object_lock_retain_until_date = call_int(c, 1700000000123);
	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	if (in->range)
		call_status(c, 206);
	call_reply_file(c, fd, 1, 3);
	if (strcmp(in->key, "refused") == 0)
		return fail(e, S3_INVALID_RANGE, "The requested range is not satisfiable");
	return 0;
}

static void stopped(struct call *c)
{
	assert_ptr_equal(c, uploading);
	uploading = NULL;
	stops++;
}

static void on_data(struct call *c, const void *data, size_t len)
{
	assert_ptr_equal(c, uploading);
	buf_append(&uploaded, data, len);
	if (answer_early) {
		struct err e;

		fail(&e, AWS_UNAVAILABLE, "disk full");
		call_reply(c, -EINVAL, &e);
		uploading = NULL;
	} else if (pause_once) {
		pause_once = false;
		call_body_pause(c);
	}
}

static void on_end(struct call *c)
{
	struct s3_put_object_out *out = c->out;
	struct str trailer = call_body_trailer(c, "x-amz-checksum-crc32");

	ends++;
	out->e_tag = call_printf(c, "\"%zu %.*s\"", buf_len(&uploaded), STR_FMT(trailer));
	call_reply(c, 0, NULL);
}

static const struct call_body body = {on_data, on_end};

int s3_put_object(
    struct call *c, const struct s3_put_object_in *in, struct s3_put_object_out *out, struct err *e)
{
	(void)out;
	assert_null(in->body);
	snprintf(seen, sizeof(seen), "%s %s %s%zu %s %s", in->bucket, in->key,
	    in->content_encoding ? in->content_encoding : "",
	    in->metadata ? in->metadata->count : 0,
	    in->metadata ? in->metadata->entries[0].key : "",
	    in->metadata ? in->metadata->entries[0].value : "");
	if (strcmp(in->bucket, "absent") == 0)
		return fail(e, S3_NO_SUCH_BUCKET, "The specified bucket does not exist");
	uploading = c;
	buf_clear(&uploaded);
	call_on_stop(c, stopped);
	if (!wait_first)
		call_body_start(c, &body);
	return CALL_PENDING;
}

static const char *etag(void)
{
	assert_int_equal(answer.replies, 1);
	assert_int_equal(answer.status, 200);
	assert_string_equal(buf_data(&answer.body), "");
	return answer_header("ETag");
}

/* ---- answers ---- */

static void answers_are_documents_as_s3_writes_them(void **state)
{
	(void)state;
	send("GET", "/",
	    "Host: x\nAuthorization: AWS4-HMAC-SHA256 Credential=AK/20150830/eu-1/s3/"
	    "aws4_request, SignedHeaders=host, Signature=0123456789012345678901234567890123"
	    "456789012345678901234567890123\nX-Amz-Date: 20150830T123600Z\n",
	    STR(""));
	expect_body(200,
	    HEAD "<ListAllMyBucketsResult" NS "><Buckets><Bucket><CreationDate>2023-11-14T"
		 "22:13:20.123Z</CreationDate><Name>a&amp;b</Name></Bucket><Bucket><Name>"
		 "c&#x1;d&#xD;&#xFFFE;</Name></Bucket></Buckets><Owner><ID>123456789012</ID>"
		 "</Owner></ListAllMyBucketsResult>");
	assert_string_equal(answer_header("Content-Type"), "application/xml");
	send("GET", "/eu?location", "", STR(""));
	expect_body(200, HEAD "<LocationConstraint" NS ">eu-west-1</LocationConstraint>");
	send("GET", "/us?location", "", STR(""));
	expect_body(200, HEAD "<LocationConstraint" NS "></LocationConstraint>");
	send("GET", "/b?acl", "", STR(""));
	expect_body(200, HEAD
	    "<AccessControlPolicy" NS "><AccessControlList><Grant><Grantee "
	    "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">"
	    "<ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>"
	    "</AccessControlList></AccessControlPolicy>");
	send("GET", "/b?policy", "", STR(""));
	expect_body(200, "{}");
	assert_string_equal(answer_header("Content-Type"), "application/json");
}

static void an_object_is_answered_from_its_file(void **state)
{
	(void)state;
	send("GET", "/b/a%20b+c%2F/d", "", STR(""));
	assert_string_equal(seen, "a b+c//d");
	assert_int_equal(answer.status, 200);
	assert_int_equal(buf_len(&answer.body), 4);
	assert_string_equal(answer_header("x-amz-meta-a"), "1  Evil: 1");
	assert_string_equal(answer_header("x-amz-meta-b"), "2");
	assert_string_equal(answer_header("Last-Modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
	assert_string_equal(
	    answer_header("x-amz-object-lock-retain-until-date"), "2023-11-14T22:13:20.123Z");
	send("GET", "/b/k", "Range: bytes=1-3\n", STR(""));
	assert_int_equal(answer.status, 206);
	send("GET", "/b/refused", "", STR("")); /* the file is closed */
	expect_error(416, "InvalidRange");
	send("HEAD", "/b/k", "", STR(""));
	assert_int_equal(answer.length, 1000000);
	assert_true(answer.ended);
}

static void errors_are_worded_as_s3_does(void **state)
{
	(void)state;
	send("GET", "/b/absent", "", STR(""));
	expect_error(404, "NoSuchKey");
	assert_non_null(strstr(buf_data(&answer.body),
	    HEAD "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist."
		 "</Message><Key>absent</Key><RequestId>"));
	assert_non_null(strstr(buf_data(&answer.body), "</HostId></Error>"));
	send("GET", "/none?policy", "", STR(""));
	expect_error(404, "NoSuchBucketPolicy");
	assert_non_null(strstr(buf_data(&answer.body), "<BucketName>no&lt;ne</BucketName>"));
	send("HEAD", "/b/k", "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\n", STR(""));
	assert_int_equal(answer.status, 304);
	send("HEAD", "/b/k", "If-Modified-Since: yesterday\n", STR(""));
	assert_int_equal(answer.status, 200);
	send("GET", "/b/k?torrent", "", STR(""));
	expect_error(501, "NotImplemented");
	send("POST", "/b", "", STR(""));
	expect_error(405, "MethodNotAllowed");
	send("GET", "/b/%FF", "", STR(""));
	expect_error(400, "InvalidURI");
	send("GET", "/b/k?partNumber=x", "", STR(""));
	expect_error(400, "InvalidArgument");
	send("PUT", "/b/k", "Content-Length: 0\nx-amz-acl: everybody\n", STR(""));
	expect_error(400, "InvalidArgument");
}

/* ---- documents ---- */

static void documents_become_structures(void **state)
{
	(void)state;
	send("POST", "/b?delete", "",
	    STR("<?xml version=\"1.0\"?><s:Delete "
		"xmlns:s='x'><New><Key>0</Key></New><s:Object><Key> "
		"a&lt;&#x62;</Key></s:Object><Quiet>\n true </Quiet><Object><Key><![CDATA[<c>]]>"
		"</Key></Object></s:Delete>"));
	expect_body(200, HEAD "<DeleteResult" NS "><Deleted><Key> a&lt;b</Key></Deleted><Deleted>"
			      "<Key>&lt;c&gt;</Key></Deleted></DeleteResult>");
	send("PUT", "/b?acl", "",
	    STR("<AccessControlPolicy><AccessControlList>"
		"<Grant><Grantee xmlns:xsi='x' xsi:type='CanonicalUser'><ID>i</ID></Grantee>"
		"<Permission>READ</Permission></Grant>"
		"<Grant><Grantee xmlns:xsi='x' xsi:type='Group'><URI>u</URI></Grantee></Grant>"
		"</AccessControlList></AccessControlPolicy>"));
	expect_body(200, "");
	assert_string_equal(seen, "2 CanonicalUser i READ u");
	send("PUT", "/b?policy", "", STR("{\"a\": 1}"));
	expect_body(200, "");
	assert_string_equal(seen, "{\"a\": 1}");
}

static void bad_documents_are_refused(void **state)
{
	static const char *const bad[] = {
	    "<Delete>",
	    "<Remove><Object><Key>a</Key></Object></Remove>",
	    "<Delete></Delete>",
	    "<Delete><Object></Object></Delete>",
	    "<Delete><Object><Key></Key></Object></Delete>",
	    "<Delete><Object><Key><b/></Key></Object></Delete>",
	    "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
	    "<Delete><Object><Key>a</Key></Object><Quiet>yes</Quiet></Delete>",
	    "<Delete><Object><Key>\x01</Key></Object></Delete>",
	    "<Delete><Object><Key>\xFF</Key></Object></Delete>",
	    "<Delete><Object><Key>&#0;</Key></Object></Delete>",
	    "<Delete><Object><Key>&evil;</Key></Object></Delete>",
	    "<!DOCTYPE Delete><Delete><Object><Key>a</Key></Object></Delete>",
	    "<!DOCTYPE Delete [<!ENTITY e 'x'>]><Delete><Object><Key>&e;</Key></Object></Delete>",
	    "<!DOCTYPE Delete SYSTEM 'file:///etc/passwd'><Delete/>",
	    "{}",
	    "",
	};
	struct buf deep = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		send("POST", "/b?delete", "", str_from(bad[i]));
		expect_error(400, "MalformedXML");
	}
	for (unsigned i = 0; i < 10000; i++)
		buf_puts(&deep, "<a>");
	send("POST", "/b?delete", "", buf_str(&deep));
	expect_error(400, "MalformedXML");
	buf_clear(&deep);
	buf_puts(&deep, "<Delete>");
	for (unsigned i = 0; i < AWS_TOKENS_MAX / 2 + 10; i++)
		buf_puts(&deep, "<a b=''/>");
	send("POST", "/b?delete", "", buf_str(&deep));
	settle();
	expect_error(400, "MalformedXML");
	buf_done(&deep);
}

static void a_digest_must_fit(void **state)
{
	static const char xml[] = "<Delete><Object><Key>a</Key></Object></Delete>";

	(void)state;
	send("POST", "/b?delete", "Content-MD5: 1jMGGA8lKFW8DH08wO3H3A==\n", str_from(xml));
	expect_error(400, "BadDigest");
	send("POST", "/b?delete", "Content-MD5: abc\n", str_from(xml));
	expect_error(400, "InvalidDigest");
}

/* ---- streams ---- */

static void a_body_streams_to_its_handler(void **state)
{
	(void)state;
	send_head("PUT", "/b/k",
	    "Content-Length: 6\nX-Amz-Meta-One: 1\nx-amz-meta-two: 2\n"
	    "X-AMZ-META-ONE: 3\n");
	assert_true(request.stream);
	assert_string_equal(seen, "b k 2 one 1,3");
	assert_int_equal(call_body_length(uploading), 6);
	send_data(STR("abc"));
	assert_int_equal(buf_len(&uploaded), 3);
	send_data(STR("def"));
	send_end();
	assert_string_equal(etag(), "\"6 \"");
	send_head("PUT", "/b/k", "Content-Length: 6\nContent-Encoding: aws-chunked, gzip\n");
	assert_string_equal(seen, "b k gzip0  ");
	aws_on_cancel(&request);
	send_head("PUT", "/b/k", "Content-Length: 6\nContent-Encoding: aws-chunked\n");
	assert_string_equal(seen, "b k 0  ");
	aws_on_cancel(&request);
	/* Refused with the head. */
	send_head("PUT", "/absent/k", "Content-Length: 6\n");
	expect_error(404, "NoSuchBucket");
	send_head("PUT", "/b/k", "");
	expect_error(411, "MissingContentLength");
	send_head("PUT", "/b/k", "Content-Length: 5368709121\n");
	expect_error(400, "EntityTooLarge");
	/* The client goes. */
	stops = 0;
	send_head("PUT", "/b/k", "Content-Length: 6\n");
	send_data(STR("abc"));
	aws_on_cancel(&request);
	assert_int_equal(stops, 1);
	/* The handler answers midway. */
	answer_early = true;
	send_head("PUT", "/b/k", "Content-Length: 6\n");
	send_data(STR("abc"));
	expect_error(503, "ServiceUnavailable");
	answer_early = false;
}

static void a_handler_may_wait_before_it_takes_the_body(void **state)
{
	(void)state;
	wait_first = true;
	send_head("PUT", "/b/k", "Content-Length: 3\n");
	wait_first = false;
	assert_true(answer.paused);
	call_body_start(uploading, &body);
	assert_false(answer.paused);
	send_data(STR("abc"));
	send_end();
	assert_string_equal(etag(), "\"3 \"");
}

#define CHUNKED                                                                          \
	"x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nContent-Length: 99\n" \
	"x-amz-decoded-content-length: 8\nx-amz-trailer: x-amz-checksum-crc32\n"

static void framing_of_chunks_is_removed(void **state)
{
	static const char wire[] =
	    "3\r\nabc\r\n5\r\ndefgh\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";

	(void)state;
	for (size_t step = 1; step < sizeof(wire); step++) {
		send_head("PUT", "/b/k", CHUNKED);
		assert_int_equal(call_body_length(uploading), 8);
		for (size_t at = 0; at < sizeof(wire) - 1; at += step)
			send_data((struct str){wire + at, min_size(step, sizeof(wire) - 1 - at)});
		send_end();
		assert_string_equal(etag(), "\"8 AAAAAA==\"");
		assert_memory_equal(buf_data(&uploaded), "abcdefgh", 8);
	}
}

static void a_pause_holds_what_has_arrived(void **state)
{
	(void)state;
	send_head("PUT", "/b/k", CHUNKED);
	pause_once = true;
	send_data(STR("3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n"));
	assert_int_equal(buf_len(&uploaded), 3);
	assert_true(answer.paused);
	call_body_resume(uploading);
	assert_int_equal(buf_len(&uploaded), 3); /* not from within the call */
	loop_turn(loop, 0);
	assert_int_equal(buf_len(&uploaded), 8);
	assert_false(answer.paused);
	send_end();
	assert_string_equal(etag(), "\"8 \"");
	/* Freed while something is held. */
	send_head("PUT", "/b/k", CHUNKED);
	pause_once = true;
	send_data(STR("3\r\nabc\r\n5\r\ndefgh\r\n"));
	call_body_resume(uploading);
	aws_on_cancel(&request);
	loop_turn(loop, 0);
}

static void what_does_not_hold_is_refused_by_the_engine(void **state)
{
	static const struct {
		const char *headers, *body;
	} cases[] = {
	    {"Content-Length: 6\n", "abc"},
	    {CHUNKED, "3\r\nabc\r\n0\r\n\r\n"},
	    {CHUNKED, "3\r\nabc\r\n5\r\ndefgh\r\n"},
	    {CHUNKED, "3\r\nabcdefgh\r\n0\r\n\r\n"},
	    {CHUNKED, "9\r\nabcdefghi\r\n0\r\n\r\n"},
	    {CHUNKED, "zz\r\n"},
	    {CHUNKED, "abcdefgh"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		stops = ends = 0;
		send_head("PUT", "/b/k", cases[i].headers);
		send_data(str_from(cases[i].body));
		send_end();
		expect_error(400, "IncompleteBody");
		assert_int_equal(stops, 1);
		assert_int_equal(ends, 0);
	}
}

/* ---- hooks ---- */

static struct str virtual_host(void *ctx, const struct http_request *r, struct arena *a)
{
	struct str host = http_header(r, "Host"), bucket;

	(void)ctx;
	bucket = str_cut(&host, '.');
	if (!host.ptr || !str_is(host, "s3.local"))
		return STR_NULL;
	return str_from(arena_printf(a, "/%.*s%.*s", STR_FMT(bucket), STR_FMT(r->path)));
}

static struct call *form;

static void form_stopped(struct call *c)
{
	(void)c;
}

static void form_data(struct call *c, const void *data, size_t len)
{
	(void)c;
	buf_append(&uploaded, data, len);
}

static void form_end(struct call *c)
{
	call_reply_text(c, 201, "text/plain", buf_str(&uploaded));
}

static int other(struct call *c, struct err *e)
{
	static const struct call_body taker = {form_data, form_end};
	struct str path = call_path(c);

	assert_null(c->op);
	snprintf(seen, sizeof(seen), "%.*s", STR_FMT(path));
	if (str_is(c->http->method, "OPTIONS")) {
		call_header(c, "Access-Control-Allow-Origin", "*");
		call_reply_text(c, 200, NULL, STR(""));
		return 0;
	}
	if (!str_is(c->http->method, "POST"))
		return AWS_NOT_MINE;
	if (http_header(c->http, "X-Bad").ptr)
		return fail(e, S3_MALFORMED_POST_REQUEST, "no");
	form = c;
	buf_clear(&uploaded);
	call_on_stop(c, form_stopped);
	call_body_start(c, &taker);
	return CALL_PENDING;
}

static void answering(struct call *c, unsigned status)
{
	call_header(c, "X-Cors", status == 404 ? "missing" : "yes");
}

static void a_service_hooks_in(void **state)
{
	static const struct aws_hooks hooks = {virtual_host, other, answering};

	(void)state;
	aws_service_add_hooks(aws, &s3_service, &hooks);
	send("GET", "/key", "Host: eu.s3.local\n", STR(""));
	assert_string_equal(seen, "key");
	send("GET", "/?location", "Host: eu.s3.local\n", STR(""));
	expect_body(200, HEAD "<LocationConstraint" NS ">eu-west-1</LocationConstraint>");
	assert_string_equal(answer_header("X-Cors"), "yes");
	send("GET", "/b/absent", "Host: x\n", STR(""));
	assert_string_equal(answer_header("X-Cors"), "missing");
	send("OPTIONS", "/b/k", "Host: x\n", STR(""));
	expect_body(200, "");
	assert_string_equal(answer_header("Access-Control-Allow-Origin"), "*");
	send("POST", "/",
	    "Host: eu.s3.local\nContent-Type: multipart/form-data\nContent-Length: 4\n",
	    STR("data"));
	expect_body(201, "data");
	assert_string_equal(seen, "/eu/");
	send("POST", "/b", "X-Bad: 1\n", STR(""));
	expect_error(400, "MalformedPOSTRequest");
	send("PATCH", "/b", "", STR(""));
	expect_error(405, "MethodNotAllowed");
	aws_service_add_hooks(aws, &s3_service, NULL);
}

static int setup(void **state)
{
	static const struct aws_config config = {
	    .dev = true, .account = "123456789012", .region = "us-east-1"};

	(void)state;
	start_engine(&config);
	aws_service_add(aws, &lambda_service, NULL);
	aws_service_add(aws, &s3_service, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_engine();
	buf_done(&uploaded);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_tables_are_sound),
	    cmocka_unit_test(the_query_and_headers_choose_the_operation),
	    cmocka_unit_test(answers_are_documents_as_s3_writes_them),
	    cmocka_unit_test(an_object_is_answered_from_its_file),
	    cmocka_unit_test(errors_are_worded_as_s3_does),
	    cmocka_unit_test(documents_become_structures),
	    cmocka_unit_test(bad_documents_are_refused),
	    cmocka_unit_test(a_digest_must_fit),
	    cmocka_unit_test(a_body_streams_to_its_handler),
	    cmocka_unit_test(a_handler_may_wait_before_it_takes_the_body),
	    cmocka_unit_test(framing_of_chunks_is_removed),
	    cmocka_unit_test(a_pause_holds_what_has_arrived),
	    cmocka_unit_test(what_does_not_hold_is_refused_by_the_engine),
	    cmocka_unit_test(a_service_hooks_in),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
