/* A block of rows shared among threads that live as long as one call, so that a fork finds none of them. */
#include <pthread.h>
#include <stdint.h>

#define MOST_THREADS 64

typedef void (*rows_of)(const void *job, int64_t first, int64_t last);

typedef struct {
    rows_of work;
    const void *job;
    int64_t first, last;
} share_of_rows;

static void *one_share(void *given)
{
    const share_of_rows *share = given;
    share->work(share->job, share->first, share->last);
    return 0;
}

static void shared(rows_of work, const void *job, int64_t rows, int64_t threads)
{
    share_of_rows shares[MOST_THREADS];
    pthread_t others[MOST_THREADS];
    int started[MOST_THREADS] = {0};
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads > rows) threads = rows;
    if (threads < 1) threads = 1;
    for (int64_t i = 0; i < threads; i++) {
        shares[i] = (share_of_rows){work, job, rows * i / threads, rows * (i + 1) / threads};
        if (i) started[i] = pthread_create(&others[i], 0, one_share, &shares[i]) == 0;
    }
    one_share(&shares[0]);
    for (int64_t i = 1; i < threads; i++) {
        if (started[i]) pthread_join(others[i], 0);
        else one_share(&shares[i]);
    }
}
