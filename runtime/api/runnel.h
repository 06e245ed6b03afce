/* Runnel C API: run quantised small language models on this machine.
 *
 * Two opaque handles: an engine (model weights and compiled plans; shared, thread-safe) and
 * sessions (one conversation each; one thread at a time, except runnel_session_cancel). No function
 * aborts, prints or throws; each returns a runnel_status and leaves a text for runnel_last_error().
 *
 * Structs start with `size`: fill them with their _init function, which sets it and the defaults.
 * It is compiled into the caller, so that a library with longer or shorter structs fits.
 * Fields are only ever appended. All text is UTF-8. All pointers a call returns stay valid until
 * the stated call; strings marked "free" are released with runnel_free().
 *
 *   runnel_engine_options eo; runnel_engine_options_init(&eo); eo.model_path = "model.gguf";
 *   runnel_engine* engine; if (runnel_engine_create(&eo, &engine) != RUNNEL_OK)
 * puts(runnel_last_error());
 */
#ifndef RUNNEL_H
#define RUNNEL_H
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define RUNNEL_API
#else
#define RUNNEL_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum runnel_status {
  RUNNEL_OK = 0,
  RUNNEL_ERROR_INVALID_ARGUMENT = 1,
  RUNNEL_ERROR_NOT_FOUND = 2,
  RUNNEL_ERROR_CORRUPT = 3,
  RUNNEL_ERROR_UNSUPPORTED = 4,
  RUNNEL_ERROR_OUT_OF_MEMORY = 5,
  RUNNEL_ERROR_DEVICE = 6,
  RUNNEL_ERROR_IO = 7,
  RUNNEL_ERROR_CANCELLED = 8,
  RUNNEL_ERROR_CONTEXT_FULL = 9,
  RUNNEL_ERROR_INTERNAL = 10
} runnel_status;

typedef struct runnel_engine runnel_engine;
typedef struct runnel_session runnel_session;

/* "0.1.0" */
RUNNEL_API const char* runnel_version(void);
/* "ok", "corrupt", ... */
RUNNEL_API const char* runnel_status_name(runnel_status status);
/* Text of this thread's last failed call; "" when none. Valid until this thread's next call. */
RUNNEL_API const char* runnel_last_error(void);
/* Releases memory marked "free". NULL is allowed. */
RUNNEL_API void runnel_free(void* memory);

typedef enum runnel_log_level {
  RUNNEL_LOG_ERROR = 0,
  RUNNEL_LOG_WARN,
  RUNNEL_LOG_INFO,
  RUNNEL_LOG_DEBUG
} runnel_log_level;
typedef void (*runnel_log_callback)(void* user, runnel_log_level level, const char* message);
/* fraction: 0..1. Return 0 to stop loading (RUNNEL_ERROR_CANCELLED). */
typedef int (*runnel_progress_callback)(void* user, float fraction);

/* What one weight was multiplied with in one step; valid during the call. */
typedef struct runnel_activations {
  size_t size;
  const char* weight; /* tensor name */
  int32_t n_rows, n_in;
  const float* rows;       /* [n_rows, n_in] */
  int32_t n_matrices;      /* experts in the weight; 1: a plain matrix */
  int32_t n_per_row;       /* matrices that each row goes to */
  const int32_t* matrices; /* [n_rows, n_per_row]; NULL: all rows go to matrix 0 */
} runnel_activations;
/* Return 0 to stop (RUNNEL_ERROR_CANCELLED). */
typedef int (*runnel_activations_callback)(void* user, const runnel_activations* activations);

/* What one attention layer was given in one step, after RoPE; valid during the call. Only sessions
 * with kv f16 or f32 show it. */
typedef struct runnel_attention_inputs {
  size_t size;
  int32_t layer, n_rows, n_kv_heads;
  const float* q; /* [n_rows, n_heads * head_dim] */
  const float* k; /* [n_rows, n_kv_heads * head_dim] */
  const float* v; /* [n_rows, n_kv_heads * head_dim] */
} runnel_attention_inputs;
/* Return 0 to stop (RUNNEL_ERROR_CANCELLED). */
typedef int (*runnel_attention_callback)(void* user, const runnel_attention_inputs* inputs);

/* ---- engine ---- */
typedef struct runnel_engine_options {
  size_t size;
  const char* model_path; /* one of: a GGUF file; */
  const void* model_data; /* a GGUF image the caller keeps alive; */
  size_t model_bytes;
  const char*
      synthetic_shape; /* or random weights: "lfm2-350m", "lfm2-700m", "lfm2-1.2b", "lfm2-2.6b" */
  const char* synthetic_type; /* with synthetic_shape: a recipe name such as "q4_0" */
  const char* backend;        /* NULL or "auto", else a name from runnel_devices_json */
  int32_t n_threads;          /* 0 = physical performance cores */
  int32_t strict;             /* 1: an op that falls back to the reference backend is an error */
  runnel_progress_callback on_progress;
  void* progress_user;
  runnel_log_callback on_log; /* may be called from any thread that runs the library */
  void* log_user;
  runnel_log_level log_level;
  /* Called for every matrix product of every step, from the thread that runs the session: to
   * measure what a model's weights see. Costs memory and time. NULL: nothing is kept. */
  runnel_activations_callback on_activations;
  void* activations_user;
  int32_t n_prefill_threads; /* for steps of several tokens; 0 = n_threads */
  /* Prefix store: memory for states of prompts, so that sessions that begin alike (a system prompt)
   * compute it once, and a session that returns to an earlier conversation goes on there. Used by
   * set_tokens and chat. 0: none. */
  uint64_t prefix_bytes;
  const char* prefix_dir;    /* a folder for what memory has no room for, and for the next run: it
                                holds what users wrote, in readable form; NULL: none */
  uint64_t prefix_dir_bytes; /* that the files there may take; 0 = 4 GiB */
  /* Called for every attention layer of every step, like on_activations. */
  runnel_attention_callback on_attention;
  void* attention_user;
  int32_t gpu_layers; /* last layers for a device with own memory; -1: all that fit (default) */
} runnel_engine_options;
RUNNEL_API void runnel_engine_options_init_sized(runnel_engine_options* options, size_t size);
static inline void runnel_engine_options_init(runnel_engine_options* options) {
  runnel_engine_options_init_sized(options, sizeof *options);
}
RUNNEL_API runnel_status runnel_engine_create(const runnel_engine_options* options,
                                              runnel_engine** engine);
/* All sessions must be destroyed first. NULL is allowed. */
RUNNEL_API void runnel_engine_destroy(runnel_engine* engine);

typedef struct runnel_model_info {
  size_t size;
  int32_t n_vocab, n_layers, n_attention_layers, d_model, context_length;
  int32_t bos_token, eos_token; /* -1 when absent */
  int32_t has_tokenizer, has_chat_template;
  uint64_t n_parameters;
  uint64_t weight_bytes;
  uint64_t bytes_per_token; /* weight bytes touched to decode one token */
  const char* architecture; /* these stay valid as long as the engine */
  const char* name;
  const char* file_type; /* recipe name, e.g. "q4_k_m" */
  const char* backend;   /* description of the backend in use */
  int32_t n_threads;
  double load_seconds;
  int32_t n_heads, head_dim, rotary_dim;
  int32_t rope_interleaved; /* 1: RoPE turns channels 2i and 2i+1, 0: i and i + rotary_dim / 2 */
} runnel_model_info;
RUNNEL_API void runnel_model_info_init_sized(runnel_model_info* info, size_t size);
static inline void runnel_model_info_init(runnel_model_info* info) {
  runnel_model_info_init_sized(info, sizeof *info);
}
RUNNEL_API runnel_status runnel_engine_info(const runnel_engine* engine, runnel_model_info* info);

/* JSON array of compiled-in backends and whether they work here. free */
RUNNEL_API runnel_status runnel_devices_json(char** json);
typedef enum runnel_inspect_flags {
  RUNNEL_INSPECT_METADATA = 0,
  RUNNEL_INSPECT_TENSORS = 1
} runnel_inspect_flags;
/* JSON object describing a model file without loading it: metadata, totals, tensors when asked.
 * free */
RUNNEL_API runnel_status runnel_inspect_json(const char* path, uint32_t flags, char** json);

/* ---- sessions ---- */
typedef enum runnel_kv_type { RUNNEL_KV_F16 = 0, RUNNEL_KV_F32 = 1 } runnel_kv_type;
/* What happens when the context is full. */
typedef enum runnel_context_policy {
  /* RUNNEL_ERROR_CONTEXT_FULL, or the end of a generation with RUNNEL_STOP_CONTEXT_FULL. */
  RUNNEL_CONTEXT_STOP = 0,
  /* The first tokens stay, and of the others the older half is no longer attended: the session goes
   * on with a gap in what it knows. Tokens keep their positions, so nothing is computed again,
   * until the model's last position: there the tokens that are left are computed anew behind the
   * first ones, which takes as long as a prompt of that length. Results depend on the tokens alone.
   * runnel_session_dropped and a warning in the log say what happened. */
  RUNNEL_CONTEXT_SHIFT = 1
} runnel_context_policy;
typedef struct runnel_session_options {
  size_t size;
  int32_t context_size; /* tokens; 0 = min(model's, 8192); at most the model's context length x 1 */
  runnel_kv_type kv_type;
  int32_t prefill_chunk; /* tokens per prefill step, 1..2048, fewer where the backend takes fewer
                            (512 but for CUDA); 0 = as many as the backend takes */
  runnel_context_policy context_policy;
  int32_t keep_tokens; /* with SHIFT: first tokens that stay, rounded up to 64, at least 64;
                          runnel_session_chat keeps system message and tools besides. The context
                          must have 256 tokens more than that. */
  /* KV cache by name, instead of kv_type: "f16", "f32", a preset of 8 to 2 bits a value ("kv8",
   * "kv6", "kv4", "kv3", "kv2"), or keys and values apart ("k8v4"). NULL: kv_type. A model whose
   * head dimension is no multiple of 64 gets f16, with a warning. */
  const char* kv;
  uint32_t kv_without; /* of a quantised cache, to measure what it is worth: RUNNEL_KV_NO_... */
  int32_t kv_force;    /* 1: also a preset whose damage, as the model file has it, is too large */
  /* Sparse attention, with a quantised cache: from sparse_from tokens on a token reads the first
   * and the newest 384 tokens, and of the pages of 64 tokens between the sparse_pages that each
   * query head expects most of. With only one of the two kinds of step, results depend on how the
   * tokens were cut into steps. RUNNEL_SPARSE_... */
  uint32_t sparse;
  int32_t sparse_from;  /* tokens, at most 2^24; 0 = 16384 */
  int32_t sparse_pages; /* 1..1024; 0 = 16 */
  /* 1, experimental, with a quantised cache: heads that the model file names (`runnel calibrate
   * --find-streaming-heads`) see the first 16 and the newest 128 tokens only, and take no more
   * memory. */
  int32_t streaming_heads;
} runnel_session_options;
typedef enum runnel_sparse {
  RUNNEL_SPARSE_DECODE = 1, /* steps of one token */
  RUNNEL_SPARSE_PREFILL = 2 /* steps of several tokens */
} runnel_sparse;
typedef enum runnel_kv_part {
  RUNNEL_KV_NO_SINKS = 1,   /* the first 16 tokens in f16 */
  RUNNEL_KV_NO_RECENT = 2,  /* the newest 128 tokens in f16 */
  RUNNEL_KV_NO_ROTATION = 4 /* the transform of keys and values before they are quantised */
} runnel_kv_part;
RUNNEL_API void runnel_session_options_init_sized(runnel_session_options* options, size_t size);
static inline void runnel_session_options_init(runnel_session_options* options) {
  runnel_session_options_init_sized(options, sizeof *options);
}
RUNNEL_API runnel_status runnel_session_create(runnel_engine* engine,
                                               const runnel_session_options* options,
                                               runnel_session** session);
RUNNEL_API void runnel_session_destroy(runnel_session* session);
/* A second session with the same tokens and logits, to be destroyed like any other, before or after
 * its parent: several replies to one prompt compute the prompt once. What either does later never
 * shows in the other; memory is shared until one of them writes. It samples with the same options,
 * and its random stream starts anew: give each its own seed to get different replies. */
RUNNEL_API runnel_status runnel_session_fork(runnel_session* parent, runnel_session** child);

/* What one session holds now. */
typedef struct runnel_session_memory {
  size_t size;
  uint64_t kv_bytes;        /* KV cache of the tokens so far */
  uint64_t kv_shared_bytes; /* of these, shared with other sessions: they exist only once */
  uint64_t state_bytes;     /* conv rings */
} runnel_session_memory;
RUNNEL_API void runnel_session_memory_init_sized(runnel_session_memory* memory, size_t size);
static inline void runnel_session_memory_init(runnel_session_memory* memory) {
  runnel_session_memory_init_sized(memory, sizeof *memory);
}
RUNNEL_API runnel_status runnel_session_memory_now(const runnel_session* session,
                                                   runnel_session_memory* memory);

/* Peak bytes by class of loading this model and running one session, known before weights are
 * loaded. */
typedef struct runnel_memory_plan {
  size_t size;
  uint64_t mapped_bytes; /* file-backed, shared, evictable */
  uint64_t weight_bytes; /* private copies of weights (packed layouts) */
  uint64_t arena_bytes;  /* activations and scratch */
  uint64_t kv_bytes;     /* KV cache at full context */
  uint64_t state_bytes;  /* conv rings */
  uint64_t other_bytes;  /* tokenizer, tables, bookkeeping: an upper estimate */
  uint64_t device_bytes; /* of the above, on a device with memory of its own */
  uint64_t prefix_bytes; /* prefix store */
} runnel_memory_plan;
RUNNEL_API void runnel_memory_plan_init_sized(runnel_memory_plan* plan, size_t size);
static inline void runnel_memory_plan_init(runnel_memory_plan* plan) {
  runnel_memory_plan_init_sized(plan, sizeof *plan);
}
RUNNEL_API runnel_status runnel_plan_memory(const runnel_engine_options* engine_options,
                                            const runnel_session_options* session_options,
                                            runnel_memory_plan* plan);

/* ---- measuring ---- */
/* What the hardware does at best, per second. One multiply-add is two operations; 0 = it has no
 * such instructions. */
typedef struct runnel_ceilings {
  size_t size;
  double read_bytes; /* memory, read by all threads with caches cold */
  double int8_ops, bf16_ops, f32_ops;
} runnel_ceilings;
RUNNEL_API void runnel_ceilings_init_sized(runnel_ceilings* ceilings, size_t size);
static inline void runnel_ceilings_init(runnel_ceilings* ceilings) {
  runnel_ceilings_init_sized(ceilings, sizeof *ceilings);
}
/* Measures them with the engine's threads; takes about a second, and 512 MiB meanwhile. Steps of
 * sessions wait. UNSUPPORTED when the backend cannot. */
RUNNEL_API runnel_status runnel_engine_ceilings(runnel_engine* engine, runnel_ceilings* ceilings);

/* The least work of a step, to compare its time with the ceilings. */
typedef struct runnel_step_cost {
  size_t size;
  double int8_ops, bf16_ops, f32_ops; /* of the weight products, by type of the weights (f16 counts
                                         as f32); the output head counts for one token */
  double kv_bytes;                    /* keys and values that the last token sees */
} runnel_step_cost;
RUNNEL_API void runnel_step_cost_init_sized(runnel_step_cost* cost, size_t size);
static inline void runnel_step_cost_init(runnel_step_cost* cost) {
  runnel_step_cost_init_sized(cost, sizeof *cost);
}
/* n_tokens tokens after `position` tokens. */
RUNNEL_API runnel_status runnel_engine_step_cost(const runnel_engine* engine,
                                                 runnel_kv_type kv_type,
                                                 int32_t position,
                                                 int32_t n_tokens,
                                                 runnel_step_cost* cost);

/* The same with the KV cache of a session. */
RUNNEL_API runnel_status runnel_session_step_cost(const runnel_session* session,
                                                  int32_t position,
                                                  int32_t n_tokens,
                                                  runnel_step_cost* cost);

/* Takes the time of every op in all steps from now on, from zero. Steps fail with UNSUPPORTED when
 * the backend cannot. */
RUNNEL_API runnel_status runnel_engine_profile_start(runnel_engine* engine);
/* Stops that. JSON object: steps, tokens, seconds, and "ops": per op and type of its weights calls,
 * seconds, bytes (weights, keys and values) and operations (of weight products), sums over steps;
 * longest first. free */
RUNNEL_API runnel_status runnel_engine_profile_stop(runnel_engine* engine, char** json);

/* ---- tokens of a session ---- */
/* Tokens now in the session. */
RUNNEL_API int32_t runnel_session_position(const runnel_session* session);
RUNNEL_API int32_t runnel_session_context_size(const runnel_session* session);
/* Of these tokens, those that are no longer attended (RUNNEL_CONTEXT_SHIFT). */
RUNNEL_API int32_t runnel_session_dropped(const runnel_session* session);
/* Copies up to `capacity` token ids; *n_ids gets the number in the session. */
RUNNEL_API runnel_status runnel_session_tokens(const runnel_session* session,
                                               int32_t* ids,
                                               size_t capacity,
                                               size_t* n_ids);
/* Forgets everything from position n on; what comes next is exactly as if it had never been there.
 */
RUNNEL_API runnel_status runnel_session_truncate(runnel_session* session, int32_t n);
/* Makes the session hold exactly `ids`, computing only what differs from what it holds; *n_reused
 * gets the number of tokens kept. Logits of the last token are then available. */
RUNNEL_API runnel_status runnel_session_set_tokens(runnel_session* session,
                                                   const int32_t* ids,
                                                   size_t n_ids,
                                                   int32_t* n_reused);
/* Appends tokens. Logits of the last one are then available. */
RUNNEL_API runnel_status runnel_session_append(runnel_session* session,
                                               const int32_t* ids,
                                               size_t n_ids);
/* Appends tokens and hands over the logits of every one of them, in order. logits: [n_rows,
 * n_vocab] f32, valid during the call; return 0 from the callback to stop. */
typedef int (*runnel_logits_callback)(void* user,
                                      int32_t first_row,
                                      int32_t n_rows,
                                      const float* logits);
RUNNEL_API runnel_status runnel_session_evaluate(runnel_session* session,
                                                 const int32_t* ids,
                                                 size_t n_ids,
                                                 runnel_logits_callback on_logits,
                                                 void* user);
/* Logits of the last token: [n_vocab] f32, valid until the session's next call. */
RUNNEL_API runnel_status runnel_session_logits(const runnel_session* session,
                                               const float** logits,
                                               size_t* n_vocab);
/* Makes the running or next prefill or generation stop with RUNNEL_ERROR_CANCELLED. Any thread. */
RUNNEL_API void runnel_session_cancel(runnel_session* session);

/* ---- sessions on disk ---- */
/* Writes the session to a file that any backend can load: tokens, state, logits, and `note`, a text
 * of the caller's (NULL: none). The file appears complete or not at all: whatever happens
 * meanwhile, `path` holds what it held or the whole session. Nothing of what the session forgot is
 * in it. */
RUNNEL_API runnel_status runnel_session_save(runnel_session* session,
                                             const char* path,
                                             const char* note);
/* Makes the session what was saved, computing nothing. What follows has the same bits as it would
 * have had then, on the same backend. The model and the KV cache type must be the same, the context
 * large enough. Sampling options stay as they are. Files may come from strangers:
 * anything but an undamaged session of this model is an error, and leaves the session as it was.
 * *note gets the note, "" when there is none; free; NULL is allowed. */
RUNNEL_API runnel_status runnel_session_load(runnel_session* session,
                                             const char* path,
                                             char** note);

/* ---- sampling ---- */
typedef struct runnel_logit_bias {
  int32_t token;
  float bias;
} runnel_logit_bias;
typedef struct runnel_sampling_options {
  size_t size;
  float temperature; /* 0 = greedy */
  int32_t top_k;     /* 0 = off */
  float top_p;       /* 1 = off */
  float min_p;       /* 0 = off */
  float typical_p;   /* 1 = off */
  float xtc_probability, xtc_threshold;
  float dry_multiplier, dry_base;
  int32_t dry_allowed_length, dry_last_n;
  float repeat_penalty, presence_penalty, frequency_penalty;
  int32_t penalty_last_n;
  float mirostat_tau, mirostat_eta;
  uint64_t seed; /* UINT64_MAX = a fresh one each time */
  const runnel_logit_bias* logit_bias;
  size_t n_logit_bias;
} runnel_sampling_options;
/* The library's defaults. */
RUNNEL_API void runnel_sampling_options_init_sized(runnel_sampling_options* options, size_t size);
static inline void runnel_sampling_options_init(runnel_sampling_options* options) {
  runnel_sampling_options_init_sized(options, sizeof *options);
}
/* The model's suggested values where its file has them, else the library's defaults. */
RUNNEL_API runnel_status runnel_engine_suggested_sampling(const runnel_engine* engine,
                                                          runnel_sampling_options* options);
/* Used by sample and generate from now on; restarts the random stream. */
RUNNEL_API runnel_status runnel_session_set_sampling(runnel_session* session,
                                                     const runnel_sampling_options* options);
/* Draws from the current logits and appends nothing. */
RUNNEL_API runnel_status runnel_session_sample(runnel_session* session, int32_t* id);

/* ---- generation ---- */
/* piece: n_bytes of whole UTF-8 characters, also NUL-terminated. Return 0 to stop. */
typedef int (*runnel_text_callback)(void* user, const char* piece, size_t n_bytes);
typedef enum runnel_stop_reason {
  RUNNEL_STOP_EOG = 0,
  RUNNEL_STOP_LIMIT,
  RUNNEL_STOP_STRING,
  RUNNEL_STOP_CALLBACK,
  RUNNEL_STOP_CANCELLED,
  RUNNEL_STOP_CONTEXT_FULL
} runnel_stop_reason;
typedef struct runnel_generate_options {
  size_t size;
  int32_t max_tokens;       /* -1 = until the model ends or the context is full */
  const char* const* stops; /* stop strings; dropped from the text */
  size_t n_stops;
  int32_t ignore_eog;   /* 1: goes on past end-of-generation tokens (benchmarks) */
  int32_t show_special; /* 1: control tokens appear in the text */
  runnel_text_callback on_text;
  void* text_user;
} runnel_generate_options;
typedef struct runnel_generate_result {
  size_t size;
  int32_t n_prompt_tokens; /* tokens of the prompt */
  int32_t n_reused_tokens; /* of these, found in the cache */
  int32_t n_tokens;        /* generated, end token included */
  runnel_stop_reason stop_reason;
  double prompt_seconds, generate_seconds;
  int32_t n_dropped_tokens; /* as runnel_session_dropped() */
} runnel_generate_result;
RUNNEL_API void runnel_generate_options_init_sized(runnel_generate_options* options, size_t size);
static inline void runnel_generate_options_init(runnel_generate_options* options) {
  runnel_generate_options_init_sized(options, sizeof *options);
}
RUNNEL_API void runnel_generate_result_init_sized(runnel_generate_result* result, size_t size);
static inline void runnel_generate_result_init(runnel_generate_result* result) {
  runnel_generate_result_init_sized(result, sizeof *result);
}
/* Goes on from the session's tokens. REQUIRES logits (append or set_tokens before). Stopping for
 * any reason, cancelling included, is RUNNEL_OK with stop_reason set. result may be NULL. */
RUNNEL_API runnel_status runnel_session_generate(runnel_session* session,
                                                 const runnel_generate_options* options,
                                                 runnel_generate_result* result);
typedef struct runnel_message {
  size_t size;
  const char* role; /* "system", "user", "assistant", "tool" */
  const char* content;
} runnel_message;
/* Renders the conversation with the model's template, reuses what the session already holds of it,
 * and generates the reply. tools_json: JSON array or NULL. */
RUNNEL_API runnel_status runnel_session_chat(runnel_session* session,
                                             const runnel_message* messages,
                                             size_t n_messages,
                                             const char* tools_json,
                                             const runnel_generate_options* options,
                                             runnel_generate_result* result);

/* ---- text ---- */
typedef enum runnel_token_flags {
  RUNNEL_TOKENS_PLAIN = 0,
  RUNNEL_TOKENS_BOS = 1, /* put BOS in front (never twice) */
  RUNNEL_TOKENS_SPECIAL =
      2, /* tokenize: recognise special tokens; detokenize: show control tokens */
  RUNNEL_TOKENS_MODEL_BOS = 4 /* BOS when the model asks for it */
} runnel_token_flags;
/* Writes up to `capacity` ids and sets *n_ids to the number there are; call with capacity 0 to ask.
 */
RUNNEL_API runnel_status runnel_tokenize(const runnel_engine* engine,
                                         const char* text,
                                         size_t n_bytes,
                                         uint32_t flags,
                                         int32_t* ids,
                                         size_t capacity,
                                         size_t* n_ids);
/* Text of ids, broken UTF-8 replaced. free */
RUNNEL_API runnel_status runnel_detokenize(
    const runnel_engine* engine, const int32_t* ids, size_t n_ids, uint32_t flags, char** text);
/* The prompt the model's chat template makes of a conversation. free */
RUNNEL_API runnel_status runnel_apply_template(const runnel_engine* engine,
                                               const runnel_message* messages,
                                               size_t n_messages,
                                               const char* tools_json,
                                               int32_t add_generation_prompt,
                                               char** text);
/* Source of the model's chat template. free. NOT_FOUND when it has none. */
RUNNEL_API runnel_status runnel_engine_template(const runnel_engine* engine, char** text);

#ifdef __cplusplus
}
#endif
#endif
