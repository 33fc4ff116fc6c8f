/*
 * Containers ask at 169.254.170.2:80 for their metadata, but port 80 must stay theirs: a listening
 * socket on it, if only on that address, would keep a web server from listening on every address.
 * So we listen on another port, and the kernel leads their connections there. In the network
 * namespace of the container; beside net_container().
 */
#include "spawner/metadata.h"

#include <netinet/in.h> /* before the kernel's */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "spawner/net.h"
#include "spawner/nft.h"

#define TABLE "mayfly"
#define CHAIN "metadata"
#define PRIORITY_DNAT (-100)
#define ADDRESS 0xa9feaa02 /* 169.254.170.2 */
#define PORT_ASKED 80
#define DESTINATION 16 /* where an IPv4 header has it */

int metadata_redirect(void)
{
	const uint32_t address = htonl(ADDRESS);
	uint8_t ipv4 = NFPROTO_IPV4, tcp = IPPROTO_TCP;
	uint16_t asked = htons(PORT_ASKED), to = htons(NET_METADATA_PORT);
	struct nft t;

	if (nft_exists(TABLE) == 0)
		return 0; /* a former life of core's had it made */
	nft_begin(&t, TABLE);
	nft_add_table(&t, false);
	nft_add_chain(&t, CHAIN, "nat", NF_INET_LOCAL_OUT, PRIORITY_DNAT);
	nft_rule(&t, CHAIN);
	nft_meta(&t, NFT_META_NFPROTO, PLACE_A);
	nft_is(&t, PLACE_A, &ipv4, 1);
	nft_payload(&t, NFT_PAYLOAD_NETWORK_HEADER, DESTINATION, 4, PLACE_A);
	nft_is(&t, PLACE_A, &address, 4);
	nft_meta(&t, NFT_META_L4PROTO, PLACE_A);
	nft_is(&t, PLACE_A, &tcp, 1);
	nft_payload(&t, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, PLACE_A);
	nft_is(&t, PLACE_A, &asked, 2);
	nft_value(&t, &address, 4, PLACE_A);
	nft_value(&t, &to, 2, PLACE_B);
	nft_nat(&t, NFT_NAT_DNAT, PLACE_A, PLACE_B);
	nft_rule_end(&t);
	return nft_commit(&t);
}
