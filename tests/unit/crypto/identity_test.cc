// SPDX-License-Identifier: Apache-2.0
#include "crypto/identity.h"

#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "crypto/hash.h"
#include "crypto/pem.h"
#include "crypto/signing_key.h"
#include "zt/base/bytes.h"

namespace zt::crypto {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr UnixTime kNow = from_unix_seconds(1'800'000'000);

std::string common_name(const Identity& identity) {
  std::array<char, 256> text{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(identity.native_certificate()), NID_commonName,
                            text.data(), static_cast<int>(text.size()));
  return text.data();
}

// der returns the bytes between the lines of a PEM text.
Bytes der(const std::string& pem) {
  std::string base64;
  for (std::size_t begin = 0; begin < pem.size();) {
    const std::size_t end = pem.find('\n', begin);
    if (pem[begin] != '-') base64 += pem.substr(begin, end - begin);
    begin = end + 1;
  }
  return from_base64(base64).value();
}

// p384_key_pem returns a good key of a curve that we do not use.
Secret p384_key_pem() {
  const bssl::UniquePtr<EC_KEY> ec_key(EC_KEY_new_by_curve_name(NID_secp384r1));
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  REQUIRE(EC_KEY_generate_key(ec_key.get()) == 1);
  REQUIRE(EVP_PKEY_set1_EC_KEY(key.get(), ec_key.get()) == 1);
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                        nullptr) == 1);
  return Secret(contents(*bio));
}

TEST_CASE("a node is the digest of its own certificate") {
  const Identity identity = Identity::create("connector one", kNow);
  CHECK(identity.certificate_digest() == sha256(der(identity.certificate_pem())));
  CHECK(common_name(identity) == "connector one");
  X509* certificate = identity.native_certificate();
  CHECK(X509_verify(certificate, identity.native_key()) == 1);
  CHECK(X509_check_purpose(certificate, X509_PURPOSE_SSL_CLIENT, 0) == 1);
  CHECK(X509_check_purpose(certificate, X509_PURPOSE_SSL_SERVER, 0) == 1);
  CHECK(X509_check_ca(certificate) == 0);
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("an identity begins an hour early and lasts ten years") {
  const Identity identity = Identity::create("node", kNow + milliseconds(999));
  CHECK(identity.not_before() == kNow - hours(1));
  CHECK(identity.not_after() == kNow + kIdentityLifetime);
}

TEST_CASE("an identity can be made when the clock was never set, and past UTCTime") {
  const std::array<std::int64_t, 3> times = {0, 2'493'072'000, 4'102'444'800};  // 1970, 2049, 2100.
  for (const std::int64_t time : times) {
    const Identity identity = Identity::create("node", from_unix_seconds(time));
    CHECK(unix_seconds(identity.not_before()) == time - 3600);
  }
}

TEST_CASE("two identities of one name share nothing") {
  const Identity one = Identity::create("node", kNow);
  const Identity two = Identity::create("node", kNow);
  CHECK(one.certificate_digest() != two.certificate_digest());
  CHECK(one.public_key_digest() != two.public_key_digest());
}

TEST_CASE("any name becomes a common name") {
  CHECK(common_name(Identity::create("", kNow)) == "zt");
  CHECK(common_name(Identity::create(std::string(64, 'n'), kNow)) == std::string(64, 'n'));
  CHECK(common_name(Identity::create(std::string(65, 'n'), kNow)) == std::string(64, 'n'));
  CHECK(common_name(Identity::create("B\xC3\xBC\nro\x7F", kNow)) == "B???ro?");
  CHECK(common_name(Identity::create(std::string_view("a\0b", 3), kNow)) == "a?b");
}

TEST_CASE("an identity survives its PEM") {
  const Identity identity = Identity::create("node", kNow);
  const auto copy = Identity::from_pem(identity.certificate_pem(), identity.key_pem());
  REQUIRE(copy);
  CHECK(copy->certificate_digest() == identity.certificate_digest());
  CHECK(copy->public_key_digest() == identity.public_key_digest());
  CHECK(copy->not_after() == identity.not_after());
  CHECK(copy->certificate_pem() == identity.certificate_pem());
  CHECK(copy->key_pem().matches(identity.key_pem().reveal()));
}

TEST_CASE("a derived key is the same after PEM, and another for each purpose and identity") {
  const Identity made = Identity::create("node", kNow);
  const auto read = Identity::from_pem(made.certificate_pem(), made.key_pem());
  REQUIRE(read);
  CHECK(read->derived_key("a") == made.derived_key("a"));
  CHECK(made.derived_key("a") != made.derived_key("b"));
  CHECK(made.derived_key("a") != Identity::create("node", kNow).derived_key("a"));
}

TEST_CASE("a key and a certificate that do not belong together are refused") {
  const Identity one = Identity::create("node", kNow);
  const Identity two = Identity::create("node", kNow);
  CHECK(Identity::from_pem(one.certificate_pem(), two.key_pem()).error() == CryptoError::mismatch);
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("keys of other kinds are refused") {
  const Identity identity = Identity::create("node", kNow);
  CHECK(Identity::from_pem(identity.certificate_pem(), p384_key_pem()).error() ==
        CryptoError::unsupported);
  CHECK(Identity::from_pem(identity.certificate_pem(), SigningKey::create().pem()).error() ==
        CryptoError::unsupported);
}

TEST_CASE("texts that are no PEM of the right kind are refused") {
  const Identity identity = Identity::create("node", kNow);
  const std::string certificate = identity.certificate_pem();
  const std::string key(identity.key_pem().reveal());
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"", key},
      {certificate, ""},
      {key, certificate},
      {certificate.substr(0, certificate.size() / 2), key},
      {certificate, key.substr(0, key.size() / 2)},
  };
  for (const auto& [first, second] : pairs) {
    CHECK(Identity::from_pem(first, Secret(second)).error() == CryptoError::malformed);
  }
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("PEM of an identity is read up to its limit and not beyond") {
  const Identity identity = Identity::create("node", kNow);
  std::string pem = identity.certificate_pem();
  pem.resize(kPemSizeMax, '\n');
  CHECK(Identity::from_pem(pem, identity.key_pem()));
  pem += '\n';
  CHECK(Identity::from_pem(pem, identity.key_pem()).error() == CryptoError::malformed);
}

TEST_CASE("any damaged byte of a certificate is refused or gives another digest") {
  const Identity identity = Identity::create("node", kNow);
  const Bytes good = der(identity.certificate_pem());
  REQUIRE(digests_of_certificate(good)->certificate == identity.certificate_digest());
  REQUIRE(digests_of_certificate(good)->public_key == identity.public_key_digest());
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= std::byte{1};
    const auto digests = digests_of_certificate(bad);
    if (digests) CHECK(digests->certificate != identity.certificate_digest());
  }
}

TEST_CASE("a certificate is one certificate and nothing after it") {
  Bytes bytes = der(Identity::create("node", kNow).certificate_pem());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(digests_of_certificate(BytesView(bytes).first(size)));
  }
  bytes.push_back(std::byte{0});
  CHECK(digests_of_certificate(bytes).error() == CryptoError::malformed);
  bytes.resize(kCertificateSizeMax + 1);
  CHECK(digests_of_certificate(bytes).error() == CryptoError::malformed);
  CHECK(ERR_peek_error() == 0);
}

std::vector<Host> controller_hosts() {
  return {parse_host("zt.example.com").value(), parse_host("192.0.2.7").value(),
          parse_host("2001:db8::7").value()};
}

// chain_error verifies `leaf` as a TLS client with only `authority` in its store would, at `now`.
int chain_error(const Identity& leaf, const CertificateAuthority& authority, UnixTime now) {
  const bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  REQUIRE(X509_STORE_add_cert(store.get(), authority.identity().native_certificate()) == 1);
  REQUIRE(X509_STORE_CTX_init(context.get(), store.get(), leaf.native_certificate(), nullptr) == 1);
  X509_STORE_CTX_set_time(context.get(), 0, static_cast<time_t>(unix_seconds(now)));
  REQUIRE(X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_SERVER) == 1);
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

TEST_CASE("a server's certificate is good under its CA for the hosts that it names") {
  const CertificateAuthority authority = CertificateAuthority::create("zt CA", kNow);
  const Identity server = authority.issue_server(controller_hosts(), kNow);
  CHECK(chain_error(server, authority, kNow) == X509_V_OK);
  X509* certificate = server.native_certificate();
  CHECK(X509_check_host(certificate, "zt.example.com", 14, 0, nullptr) == 1);
  CHECK(X509_check_host(certificate, "zt.example.org", 14, 0, nullptr) == 0);
  CHECK(X509_check_ip_asc(certificate, "192.0.2.7", 0) == 1);
  CHECK(X509_check_ip_asc(certificate, "2001:db8::7", 0) == 1);
  CHECK(X509_check_ip_asc(certificate, "192.0.2.8", 0) == 0);
  CHECK(X509_check_purpose(certificate, X509_PURPOSE_SSL_CLIENT, 0) == 0);
}

TEST_CASE("a server's certificate lasts 398 days, and never longer than its CA") {
  const CertificateAuthority authority = CertificateAuthority::create("zt CA", kNow);
  const Identity server = authority.issue_server(controller_hosts(), kNow);
  CHECK(server.not_after() == kNow + kServerLifetime);
  CHECK(chain_error(server, authority, server.not_after() - seconds(1)) == X509_V_OK);
  CHECK(chain_error(server, authority, server.not_after() + seconds(1)) ==
        X509_V_ERR_CERT_HAS_EXPIRED);
  const UnixTime late = authority.identity().not_after() - hours(24);
  CHECK(authority.issue_server(controller_hosts(), late).not_after() ==
        authority.identity().not_after());
}

TEST_CASE("renewal is due after two thirds of the life and keeps the pinned key") {
  const CertificateAuthority authority = CertificateAuthority::create("zt CA", kNow);
  const Identity server = authority.issue_server(controller_hosts(), kNow);
  const auto life = server.not_after() - server.not_before();
  CHECK(server.renewal_time() - server.not_before() == life / 3 * 2);
  const Identity renewed =
      authority.renew_server(server, controller_hosts(), server.renewal_time());
  CHECK(renewed.public_key_digest() == server.public_key_digest());
  CHECK(renewed.certificate_digest() != server.certificate_digest());
  CHECK(renewed.not_after() > server.not_after());
  CHECK(chain_error(renewed, authority, server.renewal_time()) == X509_V_OK);
}

TEST_CASE("another CA's certificate is not believed, and a leaf signs nothing") {
  const CertificateAuthority authority = CertificateAuthority::create("zt CA", kNow);
  const CertificateAuthority stranger = CertificateAuthority::create("zt CA", kNow);
  const Identity server = stranger.issue_server(controller_hosts(), kNow);
  CHECK(chain_error(server, authority, kNow) != X509_V_OK);
  CHECK(CertificateAuthority::from_pem(server.certificate_pem(), server.key_pem()).error() ==
        CryptoError::unsupported);
}

TEST_CASE("a CA survives its PEM") {
  const CertificateAuthority authority = CertificateAuthority::create("zt CA", kNow);
  const auto copy =
      CertificateAuthority::from_pem(authority.certificate_pem(), authority.key_pem());
  REQUIRE(copy);
  CHECK(chain_error(copy->issue_server(controller_hosts(), kNow), authority, kNow) == X509_V_OK);
}

}  // namespace
}  // namespace zt::crypto
