;; Asks the source "price" of the manifest, and ends with what the committee agreed on.
;;
;; A program exports its memory and `run`. It may import what stands below and nothing else; the
;; whole interface is in docs/wire/guest-abi.md. Every member of the committee runs it, and it does
;; the same for each.
(module
  ;; read(request, its length, out, room) -> length of the answer. The request is JSON; the answer
  ;; is a byte, 0 if there is one and 1 if there is none, and then the value or the reason.
  (import "lux_session_v1" "read" (func $read (param i32 i32 i32 i32) (result i32)))
  ;; input(out, room) -> its length
  (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (import "lux_session_v1" "log" (func $log (param i32 i32)))
  ;; abort(reason, its length): ends the session as failed
  (import "lux_session_v1" "abort" (func $abort (param i32 i32)))

  (memory (export "memory") 1)
  (data (i32.const 0) "{\"source\":\"price\",\"params\":{\"symbol\":\"") ;; 38 bytes, then the symbol
  (data (i32.const 64) "\"}}")                                         ;; 3 bytes, after it
  (data (i32.const 96) "asking for a price")                          ;; 18 bytes

  (func (export "run")
    (local $end i32)
    (local $length i32)
    (call $log (i32.const 96) (i32.const 18))
    ;; The request is put together at 1024: head, symbol, tail.
    (memory.copy (i32.const 1024) (i32.const 0) (i32.const 38))
    (local.set $length (call $input (i32.const 1062) (i32.const 16)))
    (if (i32.gt_u (local.get $length) (i32.const 16)) (then (unreachable)))
    (local.set $end (i32.add (i32.const 1062) (local.get $length)))
    (memory.copy (local.get $end) (i32.const 64) (i32.const 3))
    (local.set $length
      (call $read (i32.const 1024) (i32.sub (i32.add (local.get $end) (i32.const 3)) (i32.const 1024))
                  (i32.const 2048) (i32.const 2048)))
    (if (i32.gt_u (local.get $length) (i32.const 2048)) (then (unreachable)))
    (if (i32.load8_u (i32.const 2048))
      (then (call $abort (i32.const 2049) (i32.sub (local.get $length) (i32.const 1)))))
    (call $output (i32.const 2049) (i32.sub (local.get $length) (i32.const 1)))))
