// SPDX-License-Identifier: Apache-2.0
#include "crypto/identity.h"

#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <variant>

#include "crypto/hash.h"
#include "crypto/native.h"
#include "crypto/pem.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::crypto {

void NativeDeleter::operator()(x509_st* certificate) const noexcept {
  X509_free(certificate);
}
void NativeDeleter::operator()(evp_pkey_st* key) const noexcept {
  EVP_PKEY_free(key);
}

namespace {

constexpr std::size_t kCommonNameSizeMax = 64;  // ub-common-name of RFC 5280 appendix A.1.
constexpr std::string_view kServerName = "zt controller";

// CertificateSpec is what goes into a certificate. It borrows everything.
struct CertificateSpec {
  std::string common_name;
  EVP_PKEY* subject_key = nullptr;
  EVP_PKEY* issuer_key = nullptr;
  const X509* issuer = nullptr;  // Null for a certificate that issues itself.
  UnixTime not_before;
  UnixTime not_after;
  bool is_authority = false;
  std::span<const Host> hosts;
};

// Everything below fails only when memory is out or by a bug of ours: the values are ours.
void require(bool is_done) {
  ZT_ASSERT(is_done);
}

NativeKey make_key() {
  const bssl::UniquePtr<EC_KEY> ec_key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  require(ec_key && EC_KEY_generate_key(ec_key.get()) == 1);
  NativeKey key(EVP_PKEY_new());
  require(key && EVP_PKEY_set1_EC_KEY(key.get(), ec_key.get()) == 1);
  return key;
}

bool is_p256(const EVP_PKEY& key) {
  const EC_KEY* ec_key = EVP_PKEY_get0_EC_KEY(&key);
  return ec_key != nullptr &&
         EC_GROUP_get_curve_name(EC_KEY_get0_group(ec_key)) == NID_X9_62_prime256v1;
}

std::string printable(std::string_view common_name) {
  std::string result(common_name.substr(0, kCommonNameSizeMax));
  std::ranges::replace_if(result, [](char c) { return c < ' ' || c > '~'; }, '?');
  if (result.empty()) result = "zt";
  return result;
}

// set_serial draws 127 bits with the highest set: positive, never zero, at most 20 octets (RFC 5280
// section 4.1.2.2).
void set_serial(X509& certificate) {
  std::array<std::uint8_t, 16> bytes{};
  RAND_bytes(bytes.data(), bytes.size());
  bytes[0] = static_cast<std::uint8_t>((bytes[0] & 0x3FU) | 0x40U);
  const bssl::UniquePtr<BIGNUM> number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
  const bssl::UniquePtr<ASN1_INTEGER> serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  require(serial && X509_set_serialNumber(&certificate, serial.get()) == 1);
}

void set_names(X509& certificate, const CertificateSpec& spec) {
  const bssl::UniquePtr<X509_NAME> name(X509_NAME_new());
  const auto text = std::as_bytes(std::span(spec.common_name));
  require(name &&
          X509_NAME_add_entry_by_NID(name.get(), NID_commonName, MBSTRING_UTF8, octets(text),
                                     static_cast<ossl_ssize_t>(text.size()), -1, 0) == 1);
  X509_NAME* issuer = spec.issuer != nullptr ? X509_get_subject_name(spec.issuer) : name.get();
  require(X509_set_subject_name(&certificate, name.get()) == 1);
  require(X509_set_issuer_name(&certificate, issuer) == 1);
}

void set_validity(X509& certificate, const CertificateSpec& spec) {
  const bssl::UniquePtr<ASN1_TIME> from(
      ASN1_TIME_set_posix(nullptr, unix_seconds(spec.not_before)));
  const bssl::UniquePtr<ASN1_TIME> to(ASN1_TIME_set_posix(nullptr, unix_seconds(spec.not_after)));
  require(from && X509_set1_notBefore(&certificate, from.get()) == 1);
  require(to && X509_set1_notAfter(&certificate, to.get()) == 1);
}

void add_extension(X509& certificate, int nid, void* value, bool is_critical) {
  require(X509_add1_ext_i2d(&certificate, nid, value, is_critical ? 1 : 0, X509V3_ADD_DEFAULT) ==
          1);
}

void add_usage(X509& certificate, const CertificateSpec& spec) {
  const bssl::UniquePtr<BASIC_CONSTRAINTS> constraints(BASIC_CONSTRAINTS_new());
  require(constraints != nullptr);
  constraints->ca = spec.is_authority ? 1 : 0;
  if (spec.is_authority) {
    constraints->pathlen = ASN1_INTEGER_new();
    require(constraints->pathlen != nullptr && ASN1_INTEGER_set(constraints->pathlen, 0) == 1);
  }
  add_extension(certificate, NID_basic_constraints, constraints.get(), true);

  // The bits are numbered in RFC 5280 section 4.2.1.3.
  const bssl::UniquePtr<ASN1_BIT_STRING> usage(ASN1_BIT_STRING_new());
  const auto set_bit = [&](int bit) {
    require(usage && ASN1_BIT_STRING_set_bit(usage.get(), bit, 1) == 1);
  };
  if (spec.is_authority) {
    set_bit(5);  // keyCertSign
    set_bit(6);  // cRLSign
  } else {
    set_bit(0);  // digitalSignature
  }
  add_extension(certificate, NID_key_usage, usage.get(), true);
}

void add_extended_usage(X509& certificate, const CertificateSpec& spec) {
  if (spec.is_authority) return;
  const bssl::UniquePtr<EXTENDED_KEY_USAGE> usages(sk_ASN1_OBJECT_new_null());
  require(usages != nullptr);
  require(sk_ASN1_OBJECT_push(usages.get(), OBJ_nid2obj(NID_server_auth)) != 0);
  const bool is_issued = spec.issuer != nullptr;  // Issued certificates are for servers only.
  if (!is_issued) {
    require(sk_ASN1_OBJECT_push(usages.get(), OBJ_nid2obj(NID_client_auth)) != 0);
  }
  add_extension(certificate, NID_ext_key_usage, usages.get(), false);
}

bssl::UniquePtr<ASN1_OCTET_STRING> octet_string(BytesView value) {
  bssl::UniquePtr<ASN1_OCTET_STRING> string(ASN1_OCTET_STRING_new());
  require(string &&
          ASN1_OCTET_STRING_set(string.get(), octets(value), static_cast<int>(value.size())) == 1);
  return string;
}

// add_key_identifiers lets chain builders find the issuer (RFC 5280 sections 4.2.1.1 and 4.2.1.2).
// An identifier is the first 160 bits of the key's SHA-256 (RFC 7093 section 2).
void add_key_identifiers(X509& certificate, const CertificateSpec& spec) {
  std::array<std::byte, 32> digest{};
  unsigned size = 0;
  require(X509_pubkey_digest(&certificate, EVP_sha256(), mutable_octets(digest), &size) == 1);
  const auto own = octet_string(std::span(digest).first(20));
  add_extension(certificate, NID_subject_key_identifier, own.get(), false);
  if (spec.issuer == nullptr) return;
  require(X509_pubkey_digest(spec.issuer, EVP_sha256(), mutable_octets(digest), &size) == 1);
  const bssl::UniquePtr<AUTHORITY_KEYID> authority(AUTHORITY_KEYID_new());
  require(authority != nullptr);
  authority->keyid = octet_string(std::span(digest).first(20)).release();
  add_extension(certificate, NID_authority_key_identifier, authority.get(), false);
}

bssl::UniquePtr<GENERAL_NAME> general_name(const Host& host) {
  bssl::UniquePtr<GENERAL_NAME> name(GENERAL_NAME_new());
  require(name != nullptr);
  if (const auto* address = std::get_if<IpAddress>(&host)) {
    const auto bytes = std::as_bytes(std::span(address->octets())).first(address->bit_count() / 8);
    GENERAL_NAME_set0_value(name.get(), GEN_IPADD, octet_string(bytes).release());
  } else {
    const std::string& text = std::get<DnsName>(host).text();
    bssl::UniquePtr<ASN1_IA5STRING> string(ASN1_IA5STRING_new());
    require(string && ASN1_STRING_set(string.get(), text.data(),
                                      static_cast<ossl_ssize_t>(text.size())) == 1);
    GENERAL_NAME_set0_value(name.get(), GEN_DNS, string.release());
  }
  return name;
}

void add_hosts(X509& certificate, std::span<const Host> hosts) {
  if (hosts.empty()) return;
  const bssl::UniquePtr<GENERAL_NAMES> names(sk_GENERAL_NAME_new_null());
  require(names != nullptr);
  for (const Host& host : hosts) require(bssl::PushToStack(names.get(), general_name(host)));
  add_extension(certificate, NID_subject_alt_name, names.get(), false);
}

NativeCertificate make_certificate(const CertificateSpec& spec) {
  NativeCertificate certificate(X509_new());
  require(certificate && X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  set_serial(*certificate);
  set_names(*certificate, spec);
  set_validity(*certificate, spec);
  require(X509_set_pubkey(certificate.get(), spec.subject_key) == 1);
  add_usage(*certificate, spec);
  add_extended_usage(*certificate, spec);
  add_key_identifiers(*certificate, spec);
  add_hosts(*certificate, spec.hosts);
  require(X509_sign(certificate.get(), spec.issuer_key, EVP_sha256()) > 0);
  return certificate;
}

UnixTime time_of(const ASN1_TIME* time) {
  std::int64_t seconds = 0;
  require(ASN1_TIME_to_posix(time, &seconds) == 1);
  return from_unix_seconds(seconds);
}

}  // namespace

Identity::Identity(NativeKey key, NativeCertificate certificate)
    : key_(std::move(key)), certificate_(std::move(certificate)) {
  const auto digests = digests_of_certificate(*certificate_);
  ZT_ASSERT(digests.has_value());
  digests_ = *digests;
  not_before_ = time_of(X509_get0_notBefore(certificate_.get()));
  not_after_ = time_of(X509_get0_notAfter(certificate_.get()));
}

Identity Identity::create(std::string_view common_name, UnixTime now) {
  const ErrorQueueCleaner cleaner;
  NativeKey key = make_key();
  NativeCertificate certificate = make_certificate({
      .common_name = printable(common_name),
      .subject_key = key.get(),
      .issuer_key = key.get(),
      .not_before = now - kClockAllowance,
      .not_after = now + kIdentityLifetime,
  });
  return {std::move(key), std::move(certificate)};
}

std::expected<Identity, CryptoError> Identity::from_pem(std::string_view certificate_pem,
                                                        const Secret& key_pem) {
  const ErrorQueueCleaner cleaner;
  if (certificate_pem.size() > kPemSizeMax || key_pem.reveal().size() > kPemSizeMax) {
    return std::unexpected(CryptoError::malformed);
  }
  NativeCertificate certificate(
      PEM_read_bio_X509(memory_of(certificate_pem).get(), nullptr, no_password, nullptr));
  NativeKey key(
      PEM_read_bio_PrivateKey(memory_of(key_pem.reveal()).get(), nullptr, no_password, nullptr));
  if (!certificate || !key) return std::unexpected(CryptoError::malformed);
  if (!is_p256(*key)) return std::unexpected(CryptoError::unsupported);
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return std::unexpected(CryptoError::mismatch);
  }
  std::int64_t seconds = 0;
  if (ASN1_TIME_to_posix(X509_get0_notBefore(certificate.get()), &seconds) != 1 ||
      ASN1_TIME_to_posix(X509_get0_notAfter(certificate.get()), &seconds) != 1 ||
      !digests_of_certificate(*certificate)) {
    return std::unexpected(CryptoError::malformed);
  }
  return Identity(std::move(key), std::move(certificate));
}

std::string Identity::certificate_pem() const {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  require(bio && PEM_write_bio_X509(bio.get(), certificate_.get()) == 1);
  return std::string(contents(*bio));
}

Digest Identity::derived_key(std::string_view purpose) const {
  const Secret key = key_pem();
  Digest derived;
  hkdf_sha256({.secret = as_bytes(key.reveal()), .salt = {}, .info = as_bytes(purpose)},
              derived.bytes);
  return derived;
}

Secret Identity::key_pem() const {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  require(bio && PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr,
                                               nullptr) == 1);
  return Secret(contents(*bio));
}

UnixTime Identity::renewal_time() const {
  return not_before_ + (not_after_ - not_before_) / 3 * 2;
}

CertificateAuthority CertificateAuthority::create(std::string_view common_name, UnixTime now) {
  const ErrorQueueCleaner cleaner;
  NativeKey key = make_key();
  NativeCertificate certificate = make_certificate({
      .common_name = printable(common_name),
      .subject_key = key.get(),
      .issuer_key = key.get(),
      .not_before = now - kClockAllowance,
      .not_after = now + kAuthorityLifetime,
      .is_authority = true,
  });
  return CertificateAuthority(Identity(std::move(key), std::move(certificate)));
}

std::expected<CertificateAuthority, CryptoError> CertificateAuthority::from_pem(
    std::string_view certificate_pem, const Secret& key_pem) {
  const ErrorQueueCleaner cleaner;
  auto self = Identity::from_pem(certificate_pem, key_pem);
  if (!self) return std::unexpected(self.error());
  if (X509_check_ca(self->native_certificate()) != 1) {
    return std::unexpected(CryptoError::unsupported);
  }
  return CertificateAuthority(std::move(*self));
}

Identity CertificateAuthority::issue_server(std::span<const Host> hosts, UnixTime now) const {
  const ErrorQueueCleaner cleaner;
  return issue(make_key(), hosts, now);
}

Identity CertificateAuthority::renew_server(const Identity& previous, std::span<const Host> hosts,
                                            UnixTime now) const {
  const ErrorQueueCleaner cleaner;
  return issue(NativeKey(bssl::UpRef(previous.native_key()).release()), hosts, now);
}

Identity CertificateAuthority::issue(NativeKey key, std::span<const Host> hosts,
                                     UnixTime now) const {
  ZT_ASSERT(!hosts.empty());
  ZT_ASSERT(hosts.size() <= kServerHostsMax);
  NativeCertificate certificate = make_certificate({
      .common_name = std::string(kServerName),
      .subject_key = key.get(),
      .issuer_key = self_.native_key(),
      .issuer = self_.native_certificate(),
      .not_before = std::max(UnixTime(now - kClockAllowance), self_.not_before()),
      .not_after = std::min(UnixTime(now + kServerLifetime), self_.not_after()),
      .hosts = hosts,
  });
  return {std::move(key), std::move(certificate)};
}

}  // namespace zt::crypto
