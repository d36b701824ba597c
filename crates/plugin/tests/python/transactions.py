"""Transactions, written after docs/wire/transactions.md with other libraries."""

import hashlib
import struct
import time

from dilithium_py.ml_dsa import ML_DSA_65

CONTEXT = b"lux-session/v1"
DOMAIN = b"lux-session/transaction/v1"
KEM_KEY_BYTES = 1184
TRANSFER = 1


class Account:
    """An account that gives a little to itself."""

    def __init__(self):
        public, self._secret = ML_DSA_65.keygen()
        # Nobody encapsulates to this account; zeros are coefficients in range.
        self._keys = bytes(KEM_KEY_BYTES) + public
        self.id = hashlib.blake2b(self._keys, digest_size=32).digest()

    def transfer(self, chain, nonce):
        """Returns the bytes of a signed transaction."""
        expires = int(time.time() * 1000) + 600_000
        body = struct.pack(">B", 1) + chain + self.id
        body += struct.pack(">QQQ", nonce, 10_000, expires)
        body += struct.pack(">B", TRANSFER) + self.id + struct.pack(">Q", 1)
        hashed = hashlib.sha256()
        for part in (DOMAIN, body):
            hashed.update(struct.pack(">I", len(part)) + part)
        signature = ML_DSA_65.sign(self._secret, hashed.digest(), ctx=CONTEXT)
        return body + b"\x01" + self._keys + signature
